/** GFLOP/s of tf.matMul here and on tfjs-backend-cpu: npx tsx --conditions=@slimsam/source packages/tensor-webgpu/bench/matmul.ts */
import { useWebgpu } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';

interface Case {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

const cases: readonly Case[] = [
  { M: 512, N: 512, K: 512 },
  { M: 1024, N: 1024, K: 1024 },
  { M: 4096, N: 768, K: 768, transposeB: true },
  { M: 2048, N: 512, K: 128, transposeB: true },
  { M: 128, N: 128, K: 2048, transposeA: true },
  { M: 512, N: 128, K: 2048, transposeA: true },
  { M: 64, N: 64, K: 8192, transposeA: true },
];

/** Median milliseconds of one product, after one to warm up. */
async function measure({ M, N, K, transposeA = false, transposeB = false }: Case, repeats: number): Promise<number> {
  const a = tf.randomUniform(transposeA ? [K, M] : [M, K]);
  const b = tf.randomUniform(transposeB ? [N, K] : [K, N]);
  const times: number[] = [];
  for (let i = 0; i <= repeats; i++) {
    const start = performance.now();
    const c = tf.matMul(a, b, transposeA, transposeB);
    await tf.slice(c, [M - 1, N - 1], [1, 1]).data(); // waits for the product
    times.push(performance.now() - start);
    c.dispose();
  }
  tf.dispose([a, b]);
  return times.slice(1).sort((x, y) => x - y)[Math.floor(repeats / 2)]!;
}

const backend = await useWebgpu();
const cpu = !process.argv.includes('--no-cpu');
console.log(backend.facts.name);
for (const size of cases) {
  const { M, N, K, transposeA, transposeB } = size;
  const rate = (milliseconds: number) => ((2 * M * N * K) / milliseconds / 1e6).toFixed(1);
  await tf.setBackend('slimsam-webgpu');
  const here = await measure(size, 15);
  let peer = '';
  if (cpu) {
    await tf.setBackend('cpu');
    const there = await measure(size, 1);
    peer = ` | cpu ${rate(there)} GFLOP/s | ${(there / here).toFixed(0)} times`;
  }
  console.log(
    `${M}x${N}x${K}${transposeA ? ' A^T' : ''}${transposeB ? ' B^T' : ''} | ${rate(here)} GFLOP/s ${here.toFixed(2)} ms${peer}`,
  );
}
backend.dispose();
