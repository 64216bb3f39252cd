import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder } from '../setup/paths.mjs';

const folder = path.join(cacheFolder, 'runtimes');
const windows = process.platform === 'win32';
const platform = `${windows ? 'win' : process.platform}-${process.arch}`;

/** Packages of npm, with their versions, that are installed into .cache/runtimes when they are first asked for. */
const versions = {
  node20: [`node-${platform}@20.20.2`],
  node22: [`node-${platform}@22.23.3`],
  node24: [`node-${platform}@24.21.0`],
  bun: [`@oven/bun-${windows ? 'windows' : process.platform}-${process.arch === 'arm64' ? 'aarch64' : 'x64'}@1.4.5`],
  deno: ['deno@2.9.6'],
  vite: ['vite@8.3.8'],
  webpack: ['webpack@5.113.0', 'webpack-cli@7.3.1'],
  rollup: [
    'rollup@4.68.8',
    '@rollup/plugin-node-resolve@16.0.3',
    '@rollup/plugin-commonjs@29.0.3',
    '@rollup/plugin-terser@1.0.2',
  ],
  esbuild: ['esbuild@0.28.2'],
  onnxruntime: ['onnxruntime-web@1.30.0'],
};

/**
 * The folder of node_modules with a tool.
 *
 * @param {keyof typeof versions} name
 * @returns {string}
 * @throws {Error} when npm cannot install it
 */
export function tool(name) {
  const packages = versions[name];
  const home = path.join(folder, packages.join('+').replaceAll('/', '-'));
  if (!existsSync(home)) {
    const temporary = `${home}.${process.pid}`;
    mkdirSync(temporary, { recursive: true });
    writeFileSync(path.join(temporary, 'package.json'), '{ "private": true }\n');
    const parameters = ['install', '--no-audit', '--no-fund', '--loglevel=error', '--force', ...packages];
    const { status, stdout, stderr } = spawnSync('npm', parameters, {
      cwd: temporary,
      encoding: 'utf8',
      shell: windows,
    });
    if (status !== 0) {
      rmSync(temporary, { recursive: true });
      throw new Error(`npm install ${packages.join(' ')} ended with exit code ${status}\n${stdout}${stderr}`);
    }
    renameSync(temporary, home);
  }
  return path.join(home, 'node_modules');
}

/**
 * Runs a program to its end.
 *
 * @param {string} program
 * @param {readonly string[]} parameters
 * @param {{ cwd: string; seconds?: number; env?: NodeJS.ProcessEnv }} options
 * @returns {Promise<string>} its output
 * @throws {Error} when it fails or takes longer, with its output
 */
export function succeed(program, parameters, { cwd, seconds = 300, env = process.env }) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, {
      cwd,
      env,
      timeout: seconds * 1000,
      killSignal: 'SIGKILL',
      shell: windows,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (output += bytes));
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(output);
      else
        reject(
          new Error(`${path.basename(program)} ${parameters.join(' ')}: exit code ${code}\n${output.slice(-4000)}`),
        );
    });
  });
}
