import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { say } from './log.mjs';
import { cacheFolder, root } from './paths.mjs';

const archive = path.join(root, 'node_modules/@sparticuz/chromium/bin/swiftshader.tar.br');
const folder = path.join(cacheFolder, 'swiftshader');
const wanted = ['libvulkan.so.1', 'libvk_swiftshader.so', 'vk_swiftshader_icd.json'];

/**
 * The files of a tar archive.
 *
 * @param {Uint8Array} tar
 * @returns {Generator<{ name: string; bytes: Uint8Array }>}
 */
export function* tarFiles(tar) {
  const text = (/** @type {number} */ from, /** @type {number} */ size) =>
    new TextDecoder().decode(tar.subarray(from, from + size)).replace(/\0.*$/s, '');
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12).trim() || '0', 8);
    const type = text(at + 156, 1);
    if (type === '' || type === '0') yield { name: text(at, 100), bytes: tar.subarray(at + 512, at + 512 + size) };
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

/**
 * The environment for the software Vulkan driver that the npm package @sparticuz/chromium carries (Linux on x64).
 *
 * LD_LIBRARY_PATH must be set before the process starts: it holds the Vulkan loader.
 *
 * @returns {Record<string, string> | undefined} nothing where the package has no driver
 */
export function swiftshaderEnvironment() {
  if (process.platform !== 'linux' || process.arch !== 'x64' || !existsSync(archive)) return undefined;
  if (!existsSync(folder)) unpack();
  const icd = path.join(folder, 'vk_swiftshader_icd.json');
  const libraries = [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  return { VK_DRIVER_FILES: icd, VK_ICD_FILENAMES: icd, LD_LIBRARY_PATH: libraries };
}

function unpack() {
  say('unpacking SwiftShader, a software Vulkan driver, into .cache/swiftshader');
  const temporary = `${folder}.${process.pid}`;
  mkdirSync(temporary, { recursive: true });
  try {
    for (const { name, bytes } of tarFiles(brotliDecompressSync(readFileSync(archive)))) {
      const base = path.basename(name);
      if (wanted.includes(base)) writeFileSync(path.join(temporary, base), bytes, { mode: 0o755 });
    }
    const missing = wanted.filter((base) => !existsSync(path.join(temporary, base)));
    if (missing.length > 0) throw new Error(`setup: expected ${missing.join(', ')} in ${archive}, got none`);
    renameSync(temporary, folder);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
