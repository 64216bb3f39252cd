import { profile } from '@slimsam/tensor-webgpu';
import { half } from '@slimsam/tensor-webgpu/ops';
import * as tf from '@tensorflow/tfjs-core';
import { attentionCases, relativeAttention } from '../../packages/tensor-webgpu/bench/cases/attention.ts';
import type { Case, Pass } from '../../packages/tensor-webgpu/bench/cases/case.ts';
import { matmul, matmulCases } from '../../packages/tensor-webgpu/bench/cases/matmul.ts';
import { columnSums, rowCases } from '../../packages/tensor-webgpu/bench/cases/rows.ts';
import type { Runner } from '../../packages/tensor-webgpu/bench/peers/runner.ts';
import type { Bench } from './bench.ts';
import { burstOf, keepBusy, type Run, timeOf } from './clock.ts';
import { type GpuRow, kernelRows } from './rows.ts';

const wrong = 1e-2; // a peer whose error exceeds this has not done the case
const wrongInHalves = 2e-2;
const rounds = 3;

const smallCases: readonly Case[] = [
  matmul('matmul 48x40x36', [1, 48, 40, 36]),
  relativeAttention('attention 2x16x8', { G: 2, side: 4, D: 8 }),
  columnSums('column sums 64x16', [64, 16]),
];

/** Kernels alone: forward, with gradients, and matmul and attention in half precision; beside the peers. */
export async function kernelCaseRows(bench: Bench, runners: readonly Runner[]): Promise<void> {
  const cases = bench.small ? smallCases : [...matmulCases, ...attentionCases, ...rowCases];
  const passes: readonly Pass[] = ['forward', 'backward'];
  for (const one of cases) {
    for (const pass of passes)
      await bench.row(`${one.name}${pass === 'backward' ? ', with gradients' : ''}`, () =>
        beside(bench, one, pass, runners),
      );
    if (one.family === 'matmul' || one.family === 'attention')
      await bench.row(`${one.name}, half precision`, () => inHalves(bench, one));
  }
}

const flopsOf = ({ flops }: Case, pass: Pass): number => flops * (pass === 'forward' ? 1 : 3);

async function beside(
  { backend }: Bench,
  one: Case,
  pass: Pass,
  runners: readonly Runner[],
): Promise<Omit<GpuRow, 'case'>> {
  const made = one.make();
  const peers: Record<string, number> = {};
  let own: Omit<GpuRow, 'case'> | undefined;
  for (const runner of runners) {
    const isOurs = runner === runners[0];
    try {
      const { run, results, free } = await runner.prepare(one, made, pass);
      try {
        await run();
        const error = one.error(pass, await results(), made);
        if (!(error < wrong))
          throw new Error(`its values are wrong: the largest error is ${error} of the largest value`);
        const ms = await timeOf(backend, run, { runs: await burstOf(backend, run), rounds });
        if (isOurs) own = { ms, error, tflops: flopsOf(one, pass) / ms / 1e9, ...(await kernelsOf(backend, run)) };
        else peers[runner.name] = ms;
      } finally {
        free();
      }
    } catch (error) {
      if (isOurs) throw error;
      console.log(`    ${runner.name} left out: ${(error as Error).message.split('\n')[0]!.slice(0, 160)}`);
    }
  }
  await tf.setBackend('slimsam-webgpu');
  return { ...own!, ...(Object.keys(peers).length > 0 && { peers }) };
}

async function kernelsOf(backend: Bench['backend'], run: Run): Promise<Pick<GpuRow, 'gpuMs' | 'kernels'>> {
  const runs = backend.facts.isCpu ? 1 : 3;
  await keepBusy(backend);
  return kernelRows(await profile(backend, () => run(runs)), runs);
}

async function inHalves({ backend }: Bench, one: Case): Promise<Omit<GpuRow, 'case'>> {
  if (!backend.facts.features.includes('shader-f16')) return { ms: 0, leftOut: 'the adapter has no shader-f16' };
  const made = one.make();
  const halves = made.inputs.map(
    ({ shape, data }, i) => tf.tidy(() => (i < 3 ? half(tf.tensor(data, [...shape])) : tf.tensor(data, [...shape]))), // the bias stays float32
  );
  let last: tf.Tensor | undefined;
  const run: Run = async (times = 1) => {
    for (let n = 0; n < times; n++) {
      last?.dispose();
      last = tf.tidy(() => one.compute(...halves));
    }
    await backend.sync();
  };
  await run();
  const error = one.error('forward', [await last!.data<'float32'>()], made);
  if (!(error < wrongInHalves))
    throw new Error(`its values are wrong: the largest error is ${error} of the largest value`);
  const ms = await timeOf(backend, run, { runs: await burstOf(backend, run), rounds });
  const kernels = await kernelsOf(backend, run);
  tf.dispose([last, ...halves]);
  return { ms, error, tflops: one.flops / ms / 1e9, ...kernels };
}
