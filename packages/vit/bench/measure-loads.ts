import { closeSync, openSync, readSync } from 'node:fs';
import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { loadSam } from '../src/index.ts';

/** Seconds of several runs, and the ratio of their medians. */
export interface LoadTimes {
  loads: number[];
  plain: number[];
  ratio: number;
}

/** Times `loadSam` of a safetensors file of floats, in turns with `readPlainly`; both upload every weight to the device. */
export async function measureLoads(path: string, repeats: number): Promise<LoadTimes> {
  const loads: number[] = [];
  const plain: number[] = [];
  for (let i = 0; i < repeats; i++) {
    plain.push(await secondsOf(async () => readPlainly(path)));
    loads.push(await secondsOf(async () => (await loadSam(path)).weights));
  }
  return { loads, plain, ratio: median(loads) / median(plain) };
}

/** The file's floats without any checks, in pieces of 8 MiB: reading it at once takes four times as long, for the fresh memory. */
function readPlainly(path: string): Weights {
  const file = openSync(path, 'r');
  const pieces: Record<string, tf.Tensor> = {};
  for (let i = 0; ; i++) {
    const bytes = new Uint8Array(2 ** 23);
    const length = readSync(file, bytes);
    if (length === 0) break;
    pieces[i] = tf.tensor(new Float32Array(bytes.buffer, 0, Math.floor(length / 4)));
  }
  closeSync(file);
  return pieces;
}

async function secondsOf(load: () => Promise<Weights>): Promise<number> {
  const start = performance.now();
  const weights = await load();
  for (const weight of Object.values(weights)) tf.tidy(() => tf.slice(tf.reshape(weight, [-1]), 0, 1)); // uploads it
  await (tf.backend() as WebgpuBackend).sync();
  const seconds = (performance.now() - start) / 1000;
  disposeWeights(weights);
  return seconds;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
