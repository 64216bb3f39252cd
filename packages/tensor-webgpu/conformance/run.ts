/**
 * TensorFlow.js's own test suite (tfjs-core's dist/tests.js) against this backend, on the adapter at hand:
 *
 *     npm run conformance -- [--filter TEXT]… [--json FILE] [--table] [--gpu] [--default-limits]
 *
 * --filter runs only the specs whose full name contains TEXT. --json writes the counts and the failures. --table writes KERNELS.md;
 * it needs a whole run. --gpu takes the kernels for GPUs on whatever adapter is there, --default-limits a device with exactly WebGPU's
 * default limits. The exit code is 1 when a spec fails that known-failures.json does not list, or when no spec ran.
 */
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { writeFileAtomic } from '@slimsam/weights';
import { build } from 'esbuild';
import { kernelTable } from './kernel-table.ts';
import type { Failure, runSuite } from './suite.ts';

const { values: options } = parseArgs({
  options: {
    json: { type: 'string' },
    filter: { type: 'string', multiple: true, default: [] },
    table: { type: 'boolean', default: false },
    gpu: { type: 'boolean', default: false },
    'default-limits': { type: 'boolean', default: false },
  },
});
if (options.table && options.filter.length > 0)
  throw new Error('conformance: expected --table without --filter, got both; the table needs a whole run');

const folder = fileURLToPath(new URL('.', import.meta.url));
const bundle = path.join(folder, '../../../.cache/conformance/suite.mjs');
const progressEvery = 10_000; // milliseconds

await mkdir(path.dirname(bundle), { recursive: true });
await build({
  entryPoints: [path.join(folder, 'suite.ts')],
  outfile: bundle,
  bundle: true,
  format: 'esm',
  platform: 'node',
  mainFields: ['module', 'main'],
  conditions: ['@slimsam/source'],
  external: ['jasmine-core', 'webgpu'],
  alias: { '#tfjs-gradients': '@tensorflow/tfjs-core/dist/register_all_gradients.js' },
  ignoreAnnotations: true, // the specs and the registrations are side effects
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  logLevel: 'error',
});

const knownFailures: Failure[] = JSON.parse(await readFile(path.join(folder, 'known-failures.json'), 'utf8'));
const known = new Map(knownFailures.map(({ spec, reason }) => [spec, reason]));
const start = performance.now();
const seconds = () => `${((performance.now() - start) / 1000).toFixed(0)} s`;
let said = start;
const how = [options.gpu && 'gpu', options['default-limits'] && 'default-limits'].filter(Boolean);
if (how.length > 0 && options.table)
  throw new Error('conformance: expected --table alone, got it with --gpu or limits');
process.env.SLIMSAM_CONFORMANCE = how.join();
const suite = (await import(pathToFileURL(bundle).href)) as { runSuite: typeof runSuite };
const result = await suite.runSuite({
  filters: options.filter,
  onProgress({ passed, failed, pending }, failure) {
    if (failure && !known.has(failure.spec)) console.log(`FAILED ${failure.spec}\n       ${failure.reason}`);
    if (performance.now() - said < progressEvery) return;
    said = performance.now();
    console.log(`${passed} passed, ${failed} failed, ${pending} pending after ${seconds()}`);
  },
});

const failures = result.failures.map(({ spec, reason }) => ({ spec, reason: known.get(spec) ?? reason }));
const unknown = result.failures.filter(({ spec }) => !known.has(spec));
if (options.filter.length === 0) {
  const failed = new Set(failures.map(({ spec }) => spec));
  for (const spec of known.keys())
    if (!failed.has(spec)) console.log(`known-failures.json lists a spec that passes: ${spec}`);
}
if (options.json) await writeFileAtomic(options.json, `${JSON.stringify({ ...result, failures }, null, 2)}\n`);
if (options.table) await writeFileAtomic(path.join(folder, '../KERNELS.md'), kernelTable(result));
console.log(
  `${result.adapter}: ${result.passed} passed, ${result.failed} failed (${unknown.length} not known), ${result.pending} pending in ${seconds()}`,
);
process.exitCode = unknown.length > 0 || result.passed + result.failed === 0 ? 1 : 0;
