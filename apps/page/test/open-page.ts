import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium as playwright } from 'playwright';
import { build, type PreviewServer, preview } from 'vite';
import { chromium } from '../../../scripts/setup/chromium.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The built page behind a plain file server, and a browser with SwiftShader as its WebGPU adapter. */
export interface Opened {
  readonly address: string;
  readonly browser: Browser;
  /** Of the build. */
  readonly folder: string;
  close(): Promise<void>;
}

export async function openPage(): Promise<Opened> {
  const configFile = path.join(root, 'vite.config.ts');
  const folder = mkdtempSync(path.join(tmpdir(), 'slimsam-page-build-')); // of its own: other tests build too
  const toFolder = { outDir: folder, emptyOutDir: true };
  await build({ root, configFile, logLevel: 'error', build: toFolder });
  const server: PreviewServer = await preview({
    ...{ root, configFile, build: toFolder },
    preview: { port: 0, host: '127.0.0.1' },
  });
  const { executablePath, args, env } = chromium();
  const browser = await playwright.launch({ executablePath, args, env: env as Record<string, string> });
  const address = server.resolvedUrls?.local[0];
  if (!address) throw new Error('page: expected an address of the preview server, got none');
  return {
    ...{ address, browser, folder },
    async close() {
      await browser.close();
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
