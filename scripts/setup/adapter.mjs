import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLavapipe } from './lavapipe.mjs';
import { say } from './log.mjs';
import { cacheFolder, root } from './paths.mjs';
import { swiftshaderEnvironment } from './swiftshader.mjs';

const probeFile = fileURLToPath(new URL('probe.mjs', import.meta.url));
const cacheFile = path.join(cacheFolder, 'adapter.json');
const kinds = ['any', 'lavapipe', 'swiftshader'];
/** A driver that has not answered after this long hangs. Milliseconds. */
const probeTimeout = 60_000;

/**
 * @typedef {{ name: string; env: Record<string, string> }} Adapter the name, and what its processes need in their environment
 */

/**
 * Makes sure of a WebGPU adapter: what the machine has (a GPU first); else lavapipe, installed where that can be done;
 * else SwiftShader from npm. The answer is kept until the drivers change.
 *
 * @returns {{ name: string; env: NodeJS.ProcessEnv }} the adapter's name, the whole environment to run commands with
 * @throws {Error} when there is none, with what was tried and the cure
 */
export function ensureAdapter() {
  const kind = process.env.SLIMSAM_ADAPTER || 'any';
  if (!kinds.includes(kind)) throw new Error(`SLIMSAM_ADAPTER: expected ${kinds.join(', ')}, got '${kind}'`);
  const key = cacheKey(kind);
  const cache = readCache();
  const cached = cache[key];
  if (cached) return { name: cached.name, env: { ...process.env, ...cached.env } };
  const adapter = findAdapter(kind);
  mkdirSync(cacheFolder, { recursive: true });
  writeFileSync(cacheFile, JSON.stringify({ ...cache, [cacheKey(kind)]: adapter }, undefined, 2)); // the key after an installation
  return { name: adapter.name, env: { ...process.env, ...adapter.env } };
}

/**
 * @param {string} kind
 * @returns {Adapter}
 */
function findAdapter(kind) {
  /** @type {string[]} */
  const tried = [];
  /** @param {Record<string, string> | undefined} env @param {string} label */
  const attempt = (env, label) => {
    const result = env ? probe(env) : { error: 'not found' };
    if ('name' in result) return { name: result.name, env: env ?? {} };
    tried.push(`${label}: ${result.error}`);
    return undefined;
  };
  if (kind !== 'swiftshader') {
    const environment = () => (kind === 'lavapipe' ? lavapipeEnvironment() : {});
    const label = kind === 'lavapipe' ? 'lavapipe' : "the machine's drivers";
    const present = attempt(environment(), label);
    if (present) return present;
    const obstacle = installLavapipe();
    const installed = obstacle ? undefined : attempt(environment(), 'lavapipe as installed');
    if (installed) return installed;
    if (obstacle) tried.push(`installing lavapipe: ${obstacle}`);
  }
  if (kind !== 'lavapipe') {
    const found = attempt(swiftshaderEnvironment(), 'SwiftShader from npm (Linux on x64)');
    if (found) {
      if (kind === 'any')
        say('SwiftShader is slow: root can have a driver 4 times as fast, mesa-vulkan-drivers 25 or newer');
      return found;
    }
  }
  const files = driverFiles();
  throw new Error(
    [
      'WebGPU adapter: expected one, got none',
      ...tried.map((line) => `  tried ${line}`),
      `  driver files: ${files.length > 0 ? files.join(', ') : 'none'}`,
      '  cure: install a GPU driver with Vulkan, or as root the package mesa-vulkan-drivers (Mesa 25 or newer; on Debian 12 ' +
        'from bookworm-backports), and run the command again',
    ].join('\n'),
  );
}

/**
 * @param {Record<string, string>} env
 * @returns {{ name: string } | { error: string }}
 */
function probe(env) {
  const { stdout, signal, status } = spawnSync(process.execPath, [probeFile], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: probeTimeout,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const line = stdout.trim().split('\n').at(-1);
  if (line) return JSON.parse(line);
  return { error: signal ? `the probe ended by ${signal}` : `the probe ended with exit code ${status}` };
}

/** @returns {Record<string, string> | undefined} */
function lavapipeEnvironment() {
  const icd = driverFiles().find((file) => /(lvp|lavapipe)_icd.*[.]json$/.test(file));
  return icd ? { VK_DRIVER_FILES: icd, VK_ICD_FILENAMES: icd } : undefined;
}

/** The Vulkan drivers' description files, in the loader's search path. */
function driverFiles() {
  const folders = ['/etc', '/usr/local/etc', '/usr/local/share', '/usr/share', path.join(homedir(), '.local/share')];
  return folders
    .map((folder) => path.join(folder, 'vulkan/icd.d'))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => path.join(folder, name)))
    .filter((file) => file.endsWith('.json'));
}

/** @returns {Record<string, Adapter>} the adapters found before, by what decided them */
function readCache() {
  try {
    return JSON.parse(readFileSync(cacheFile, 'utf8'));
  } catch {
    return {}; // none yet, or half-written: the probe decides
  }
}

/** A hash of what decides which adapter there is. @param {string} kind */
function cacheKey(kind) {
  const variables = Object.entries(process.env).filter(([name]) => /^(VK_|LD_LIBRARY_PATH$|DISPLAY$)/.test(name));
  const libraries = [
    '/usr/lib',
    '/usr/lib64',
    '/lib',
    '/usr/local/lib',
    `/usr/lib/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`,
  ]
    .filter((folder) => existsSync(folder))
    .flatMap((folder) =>
      readdirSync(folder)
        .filter((name) => /^lib(vulkan|nvidia|GLX_nvidia)/.test(name))
        .map((name) => path.join(folder, name)),
    );
  const devices = ['/dev', '/dev/dri']
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).filter((name) => /^(nvidia|card|render)/.test(name)));
  const stamps = [...driverFiles(), ...libraries, path.join(root, 'node_modules/webgpu/package.json')].map((file) => {
    const stat = statSync(file, { throwIfNoEntry: false });
    return `${file} ${stat?.size} ${stat?.mtimeMs}`;
  });
  return createHash('sha256')
    .update(JSON.stringify([kind, process.version, root, variables, devices, stamps]))
    .digest('hex');
}
