import { readFileSync } from 'node:fs';
import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import { disposeWeights, parseSafetensors, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { loadSam } from '../src/index.ts';

/** Seconds of several runs, and the ratio of their medians. */
export interface LoadTimes {
  loads: number[];
  plain: number[];
  ratio: number;
}

/** Times `loadSam` of a safetensors file, in turns with a plain read of it as a whole; both upload every weight to the device. */
export async function measureLoads(path: string, repeats: number): Promise<LoadTimes> {
  const loads: number[] = [];
  const plain: number[] = [];
  for (let i = 0; i < repeats; i++) {
    plain.push(await secondsOf(() => readPlainly(path)));
    loads.push(await secondsOf(async () => (await loadSam(path)).weights));
  }
  return { loads, plain, ratio: median(loads) / median(plain) };
}

/** As fast as Node reads a file: at once. */
async function readPlainly(path: string): Promise<Weights> {
  const { tensors } = parseSafetensors(readFileSync(path), path);
  return Object.fromEntries(Object.entries(tensors).map(([name, { data, shape }]) => [name, tf.tensor(data, shape)]));
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
