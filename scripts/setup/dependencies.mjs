import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { say } from './log.mjs';
import { root } from './paths.mjs';

/** The oldest Node that is supported, as in package.json's `engines`. */
const oldestNode = [20, 19];

/**
 * Checks the version of Node.
 *
 * @param {string} version such as `20.19.0`
 * @throws {Error} when it is older than the oldest that is supported
 */
export function checkNode(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = oldestNode;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor))
    throw new Error(`setup: expected Node ${oldestNode.join('.')} or newer, got ${version}; install a newer Node.js`);
}

/**
 * Runs `npm install` when the dependencies are missing or out of date.
 *
 * @throws {Error} when npm fails
 */
export function ensureDependencies() {
  const record = path.join(root, 'node_modules', '.slimsam-setup');
  if (installed(record)) return;
  say('npm install (about a minute)');
  rmSync(record, { force: true });
  const { status, error } = spawnSync('npm', ['install', '--no-fund', '--no-audit', '--include=dev'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (error || status !== 0)
    throw new Error(
      `setup: expected 'npm install' to succeed, got ${error?.message ?? `exit code ${status}`}; see npm's lines above, ` +
        'then run the same command again',
    );
  writeFileSync(record, manifestsHash());
}

/** @param {string} record the file with the hash of the manifests at the last installation */
function installed(record) {
  if (!existsSync(path.join(root, 'packages/tensor-webgpu/generated/tfjs-gradients.js'))) return false;
  if (existsSync(record)) return readFileSync(record, 'utf8') === manifestsHash();
  // An `npm install` by hand leaves no record; npm writes this file when it has ended well.
  const done = path.join(root, 'node_modules/.package-lock.json');
  return existsSync(done) && manifests().every((file) => statSync(file).mtimeMs <= statSync(done).mtimeMs);
}

/** The hash of everything that decides what npm installs, @returns {string} */
function manifestsHash() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch} ${process.versions.modules}\n`);
  for (const file of manifests()) hash.update(readFileSync(file)).update('\0');
  return hash.digest('hex');
}

/** @returns {string[]} */
function manifests() {
  const folders = readdirSync(path.join(root, 'packages')).map((name) => `packages/${name}`);
  return ['package-lock.json', 'package.json', 'examples/package.json', ...folders.map((it) => `${it}/package.json`)]
    .map((file) => path.join(root, file))
    .filter((file) => existsSync(file));
}
