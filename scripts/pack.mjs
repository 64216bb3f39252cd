import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './setup/paths.mjs';

/** @typedef {{ name: string; dependencies?: Record<string, string>; peerDependencies?: Record<string, string>; version: string }} Manifest */

/**
 * Packs every package as npm would publish it.
 *
 * @param {string} folder where the tarballs go
 * @returns {{ folder: string; manifest: Manifest; tarball: string }[]} each with its folder in packages/
 * @throws {Error} when npm pack fails, with its output
 */
export function packAll(folder) {
  const folders = readdirSync(path.join(root, 'packages'));
  const workspaces = folders.flatMap((name) => ['--workspace', `packages/${name}`]);
  const parameters = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder, ...workspaces];
  const windows = process.platform === 'win32';
  const { status, stdout, stderr } = spawnSync('npm', parameters, { cwd: root, encoding: 'utf8', shell: windows });
  if (status !== 0) throw new Error(`npm pack ended with exit code ${status}\n${stdout}${stderr}`);
  return folders.map((name) => {
    const manifest = JSON.parse(readFileSync(path.join(root, 'packages', name, 'package.json'), 'utf8'));
    const tarball = path.join(folder, `${manifest.name.replace(/^@(.*)\//, '$1-')}-${manifest.version}.tgz`);
    return { folder: name, manifest, tarball };
  });
}
