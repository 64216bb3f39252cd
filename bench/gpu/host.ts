import * as tf from '@tensorflow/tfjs-core';
import type { Bench } from './bench.ts';
import { timeOf } from './clock.ts';

type Op = (a: tf.Tensor2D, b: tf.Tensor2D) => tf.Tensor;

const ops: Readonly<Record<string, Op>> = {
  add: tf.add,
  matmul: (a, b) => tf.matMul(a, b),
  transpose: (a) => tf.transpose(a),
  softmax: (a) => tf.softmax(a),
};

/** What a call of an op of 64 x 64 values takes, most of it JavaScript, beside tfjs-backend-webgpu where that is opened. */
export async function hostRows(bench: Bench): Promise<void> {
  const { backend, small } = bench;
  const calls = small ? 20 : 1000;
  const peer = tf.findBackend('webgpu') ? 'webgpu' : undefined;
  for (const [name, op] of Object.entries(ops))
    await bench.row(`a call: ${name} 64 x 64`, async () => {
      const ms = await callTime(bench, { op, calls, on: 'slimsam-webgpu' });
      const theirs = peer && (await callTime(bench, { op, calls, on: peer }));
      await tf.setBackend('slimsam-webgpu');
      return { ms, ...(theirs !== undefined && { peers: { 'tfjs-backend-webgpu': theirs } }) };
    });
  await backend.sync();
}

async function callTime({ backend }: Bench, { op, calls, on }: { op: Op; calls: number; on: string }): Promise<number> {
  await tf.setBackend(on);
  const [a, b] = [tf.ones<tf.Rank.R2>([64, 64]), tf.ones<tf.Rank.R2>([64, 64])];
  const run = async (times = 1) => {
    let last: tf.Tensor | undefined;
    for (let n = 0; n < times; n++) {
      last?.dispose();
      last = op(a, b);
    }
    await last!.data(); // waits for all, on either backend
    last!.dispose();
  };
  await run(calls); // compiles, and lets V8 do so
  const ms = await timeOf(backend, run, { runs: calls, rounds: 3 });
  tf.dispose([a, b]);
  return ms;
}
