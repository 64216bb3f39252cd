/**
 * The README's test command: builds, checks and tests everything, stops at the first failure, and ends with the number of
 * tests that passed and failed. Nx remembers the builds and the tests of each workspace: what did not change is not run again
 * (NX_SKIP_NX_CACHE=true runs it all the same).
 *
 * Run it through scripts/setup.mjs, which puts node_modules/.bin in PATH and finds a WebGPU adapter.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder, root } from './setup/paths.mjs';

const nx = { NX_DAEMON: 'false', NX_NO_CLOUD: 'true', NX_TUI: 'false' };
const sourceReports = path.join(cacheFolder, 'test'); // a file for each workspace, which Nx brings back with what it remembers
const browserReport = path.join(cacheFolder, 'test-browser.json');
const builtReport = path.join(cacheFolder, 'test-built.json');

/** @type {readonly { name: string; command: string[]; env?: Record<string, string>; report?: string }[]} */
const steps = [
  { name: 'build', command: ['nx', 'run-many', '-t', 'build', '--output-style=static'], env: nx },
  { name: 'types', command: ['tsc', '-p', 'tsconfig.check.json'] },
  { name: 'lint', command: ['biome', 'check', '--error-on-warnings', '.'] },
  {
    name: 'boundaries',
    command: ['depcruise', 'packages', 'examples', 'bench', '--config', 'dependency-cruiser.config.mjs'],
  },
  { name: 'unused code', command: ['knip'] },
  {
    name: "GPU kernels in AMD's and Intel's compilers",
    command: [
      ...[process.execPath, '--conditions=@slimsam/source', '--import', 'tsx', 'scripts/gpu-stats/run.ts', '--short'],
    ],
  },
  {
    name: 'tests of the source', // of two workspaces at a time: compilers of shaders and JavaScript keep one core each
    command: ['nx', 'run-many', '-t', 'test', '--parallel=2', '--output-style=stream'],
    env: nx,
    report: sourceReports,
  },
  {
    name: 'tests in headless Chromium',
    command: [
      ...['vitest', 'run', '--config', 'vitest.browser.config.ts'],
      ...['--reporter=default', '--reporter=json', `--outputFile.json=${browserReport}`],
    ],
    report: browserReport,
  },
  {
    name: 'tests of the built packages',
    command: [process.execPath, 'scripts/test-built.mjs', builtReport],
    report: builtReport,
  },
];

/**
 * @param {string[]} command
 * @param {Record<string, string>} env
 * @returns {Promise<boolean>} whether it succeeded
 */
function run([program = '', ...parameters], env) {
  return new Promise((resolve) => {
    const child = spawn(program, parameters, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...env },
      shell: process.platform === 'win32' && program !== process.execPath,
    });
    child.once('error', (error) => {
      console.error(error.message);
      resolve(false);
    });
    child.once('exit', (code) => resolve(code === 0));
  });
}

/** @param {string} report a JSON report with vitest's names, or a folder of them @returns {{ passed: number; failed: number }} */
function readCounts(report) {
  try {
    if (statSync(report).isDirectory()) {
      const all = readdirSync(report).map((file) => readCounts(path.join(report, file)));
      const sum = (/** @type {'passed' | 'failed'} */ key) => all.reduce((total, counts) => total + counts[key], 0);
      return { passed: sum('passed'), failed: sum('failed') };
    }
    const { numPassedTests, numFailedTests, numFailedTestSuites } = JSON.parse(readFileSync(report, 'utf8'));
    return { passed: numPassedTests, failed: Math.max(numFailedTests, numFailedTestSuites ? 1 : 0) };
  } catch {
    return { passed: 0, failed: 0 }; // the step ended before its report
  }
}

mkdirSync(cacheFolder, { recursive: true });
for (const { report } of steps) if (report) rmSync(report, { force: true, recursive: true });
let passed = 0;
let failed = 0;
for (const { name, command, env = {}, report } of steps) {
  console.log(`\n=== ${name}`);
  const start = performance.now();
  const succeeded = await run(command, env);
  const counts = report ? readCounts(report) : { passed: 0, failed: 0 };
  passed += counts.passed;
  failed += succeeded ? counts.failed : Math.max(1, counts.failed);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`=== ${name}: ${succeeded ? 'passed' : 'FAILED'} in ${seconds} s`);
  if (failed > 0) break;
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
