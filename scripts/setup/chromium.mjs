import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { say } from './log.mjs';
import { cacheFolder, root } from './paths.mjs';
import { tarFiles } from './swiftshader.mjs';

const archives = path.join(root, 'node_modules/@sparticuz/chromium');
const folder = path.join(cacheFolder, 'chromium');

/**
 * Headless Chromium with WebGPU on SwiftShader for the tests in a page: the one that SLIMSAM_CHROMIUM names, else the one
 * in the npm package @sparticuz/chromium (Linux on x64), which is unpacked once into .cache/chromium (210 MB).
 *
 * @returns {{ executablePath: string; args: string[]; env: NodeJS.ProcessEnv }} how to start it
 * @throws {Error} where there is none, with the cure
 */
export function chromium() {
  const args = [
    '--no-sandbox', // it does not start as root otherwise, and it opens the tests' own page only
    '--enable-unsafe-webgpu',
    '--use-webgpu-adapter=swiftshader',
    '--disable-background-networking',
  ];
  const named = process.env.SLIMSAM_CHROMIUM;
  if (named) {
    if (!existsSync(named)) throw new Error(`SLIMSAM_CHROMIUM: expected the path of Chromium, got '${named}'`);
    return { executablePath: named, args, env: process.env };
  }
  if (process.platform !== 'linux' || process.arch !== 'x64' || !existsSync(archives))
    throw new Error(
      `chromium: expected Linux on x64 with the npm package @sparticuz/chromium, got ${process.platform} on ${process.arch}; ` +
        'set SLIMSAM_CHROMIUM to the path of a Chromium or Chrome 113 or newer',
    );
  const { version } = JSON.parse(readFileSync(path.join(archives, 'package.json'), 'utf8'));
  const home = path.join(folder, version);
  if (!existsSync(home)) unpack(home);
  const libraries = [path.join(home, 'lib'), process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  return { executablePath: path.join(home, 'chromium'), args, env: { ...process.env, LD_LIBRARY_PATH: libraries } };
}

/** @param {string} home */
function unpack(home) {
  say('unpacking headless Chromium into .cache/chromium');
  const temporary = `${home}.${process.pid}`;
  const read = (/** @type {string} */ name) => brotliDecompressSync(readFileSync(path.join(archives, 'bin', name)));
  mkdirSync(path.join(temporary, 'lib'), { recursive: true });
  try {
    writeFileSync(path.join(temporary, 'chromium'), read('chromium.br'));
    chmodSync(path.join(temporary, 'chromium'), 0o755);
    // SwiftShader stands beside the executable, its network security library in lib
    for (const name of ['swiftshader.tar.br', 'al2023.tar.br'])
      for (const file of tarFiles(read(name)))
        writeFileSync(path.join(temporary, file.name), file.bytes, { mode: 0o755 });
    renameSync(temporary, home);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
