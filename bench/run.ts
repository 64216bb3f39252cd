/**
 * A few kernels and the small teacher's encoder, mask and training step, kept in a history with adapter and commit; says what became
 * slower than the last five runs on the same machine:
 *
 *     npm run bench [-- --rounds 10 --filter teacher]
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { createPredictor, encodeImage, loadSam } from '@slimsam/vit';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { parse } from 'slimsam/node';
import { attentionCases } from '../packages/tensor-webgpu/bench/cases/attention.ts';
import { values } from '../packages/tensor-webgpu/bench/cases/case.ts';
import { matmulCases } from '../packages/tensor-webgpu/bench/cases/matmul.ts';
import { rowCases } from '../packages/tensor-webgpu/bench/cases/rows.ts';
import { median } from '../packages/tensor-webgpu/bench/measure.ts';
import { ours } from '../packages/tensor-webgpu/bench/peers/tfjs.ts';
import { processor } from '../packages/tensor-webgpu/bench/processor.ts';
import { hostStep } from './cases/host-sam.ts';
import { countDispatches } from './dispatches.ts';
import { addRun, type BenchRun, compareRuns, readHistory } from './history.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const { rounds, filter, threshold, history, dry, strict } = new Command('bench')
  .description('measures kernels and the small teacher, adds them to a history, and says what became slower')
  .option('--rounds <n>', 'of each case, after one to warm up', parse.positiveInteger, 10)
  .option('--filter <words>', 'which cases, a regular expression', '')
  .option('--threshold <ratio>', 'from which a change is told', Number, 1.1)
  .option('--history <file>', 'where runs are kept', parse.path, `${root}bench/history.jsonl`)
  .option('--dry', 'compares, and adds nothing to the history', false)
  .option('--strict', 'ends with 1 where something became slower', false)
  .parse()
  .opts<{ rounds: number; filter: string; threshold: number; history: string; dry: boolean; strict: boolean }>();

const before = readHistory(history); // a damaged one is told of before anything is measured
const backend = await useWebgpu();
const kernels = [...matmulCases, ...attentionCases, ...rowCases].filter(
  ({ flops, largest }) => flops < 5e9 && largest < 2 ** 25,
);

const teacher = await loadSam(`${root}examples/teacher`);
const side = teacher.config.imageSize;
const image = tf.tensor4d(values([1, 3, side, side], 7).data, [1, 3, side, side]);
const predictor = createPredictor(teacher.weights, teacher.config);
const photo = { width: side, height: side, data: new Uint8Array(side * side * 3).fill(120) };
const synced = (work: () => void) => async () => {
  work();
  await backend.sync();
};

interface Ready {
  readonly run: () => Promise<void>;
  readonly free: () => void;
}
const models: Readonly<Record<string, () => Ready>> = {
  'teacher, encode': () => ({
    run: synced(() => encodeImage(teacher.weights, teacher.config, image).embedding.dispose()),
    free: () => {},
  }),
  'teacher, mask of a point': () => {
    const embedded = predictor.embed(photo);
    const run = async () => (await predictor.predict(embedded, { points: [[40, 50]] })).dispose();
    return { run, free: () => embedded.dispose() };
  },
  'training step': () => ({ run: synced(hostStep()), free: () => {} }),
};
const cases = new Map<string, () => Ready | Promise<Ready>>(Object.entries(models));
for (const one of kernels)
  for (const pass of ['forward', 'backward'] as const)
    cases.set(`${one.name}, ${pass}`, () => ours(backend).prepare(one, one.make(), pass));

const measured: Record<string, BenchRun['cases'][string]> = {};
for (const [name, make] of cases) {
  if (!new RegExp(filter, 'i').test(name)) continue;
  const { run, free } = await make();
  await run(); // compiles
  const dispatches = await countDispatches(backend, run);
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  free();
  const rounded = (ms: number) => Number(ms.toPrecision(4));
  measured[name] = { best: rounded(Math.min(...times)), median: rounded(median(times)), dispatches };
  console.log(`${name.padEnd(36)} ${`${measured[name].best} ms`.padStart(11)}, ${dispatches} dispatches`);
}

const git = (...words: string[]) => execFileSync('git', words, { cwd: root, encoding: 'utf8' }).trim();
const changed = git('status', '--porcelain', '--', '.', ':!bench/history.jsonl') !== '';
const run: BenchRun = {
  date: new Date().toISOString(),
  commit: `${git('rev-parse', '--short', 'HEAD')}${changed ? '+' : ''}`,
  adapter: backend.facts.name,
  processor: processor(backend.facts),
  node: process.versions.node,
  cases: measured,
};
const changes = compareRuns(run, before, threshold);
console.log(`\n${run.adapter} on ${run.processor}, commit ${run.commit}`);
if (changes.length === 0) console.log('nothing to compare with: the first run on this machine');
for (const { name, ratio, change, dispatches } of changes) {
  if (change !== 'same') console.log(`${change.toUpperCase()}: ${name}, ${ratio.toFixed(2)} of the time before`);
  if (dispatches !== 0) console.log(`${name}: ${Math.abs(dispatches)} dispatches ${dispatches > 0 ? 'more' : 'fewer'}`);
}
const slower = changes.filter(({ change }) => change === 'slower').length;
if (changes.length > 0) console.log(`${slower} of ${changes.length} cases became slower`);
if (!dry) await addRun(history, run);
backend.dispose();
process.exitCode = strict && slower > 0 ? 1 : 0;
