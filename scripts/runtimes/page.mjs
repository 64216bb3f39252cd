import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { chromium as playwright } from 'playwright';
import { chromium } from '../setup/chromium.mjs';

const types = /** @type {Record<string, string>} */ ({
  '.html': 'text/html',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.png': 'image/png',
  '.wasm': 'application/wasm',
});

/**
 * Serves folders, the first that has the file, and opens the page in headless Chromium.
 *
 * @template T
 * @param {readonly string[]} folders
 * @param {(page: import('playwright').Page, served: ReadonlySet<string>) => Promise<T>} use with the paths of the files that the page fetched so far
 * @returns {Promise<T>}
 */
export async function withPage(folders, use) {
  /** @type {Set<string>} */
  const served = new Set();
  const server = createServer(({ url = '/' }, response) => {
    const name = new URL(url, 'http://localhost').pathname.replace(/\/$/, '/index.html');
    for (const folder of folders) {
      try {
        const file = path.join(folder, path.normalize(name));
        const bytes = readFileSync(file);
        served.add(file);
        response.setHeader('content-type', types[path.extname(name)] ?? 'application/octet-stream');
        response.end(bytes);
        return;
      } catch {} // the next folder may have it
    }
    response.writeHead(404).end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { executablePath, args, env } = chromium();
  const browser = await playwright.launch({ executablePath, args, env: /** @type {Record<string, string>} */ (env) });
  try {
    const page = await browser.newPage();
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    await page.goto(`http://127.0.0.1:${port}/`);
    return await use(page, served);
  } finally {
    await browser.close();
    server.close();
  }
}
