import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { prune } from '@slimsam/prune';
import * as ort from 'onnxruntime-node';
import { afterAll, beforeAll, expect } from 'vitest';
import { encoderAxes, type Sam } from '../src/index.ts';
import type { Fixture } from './support.ts';

/** Opens tfjs-backend-cpu for a file's tests, and gives a folder that goes with them. */
export function withFolder(prefix: string): () => string {
  let folder: string;
  beforeAll(async () => {
    await tf.setBackend('cpu');
    folder = await mkdtemp(join(tmpdir(), prefix));
  });
  afterAll(() => rm(folder, { recursive: true }));
  return () => folder;
}

/** A value of a fixture for onnxruntime. */
export function inputOf({ io }: Fixture, name: string): ort.Tensor {
  return floats(io[name]!.data, io[name]!.shape);
}

export function floats(values: ArrayLike<number>, shape: readonly number[]): ort.Tensor {
  return new ort.Tensor('float32', Float32Array.from(values), [...shape]);
}

/** Runs a model once. */
export async function runModel(
  path: string,
  inputs: Record<string, ort.Tensor>,
): Promise<ort.InferenceSession.ReturnType> {
  const session = await ort.InferenceSession.create(path);
  try {
    return await session.run(inputs);
  } finally {
    await session.release();
  }
}

/** The largest difference; both must have as many values, all of them finite. */
export function largestDifference(actual: ArrayLike<unknown>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) worst = Math.max(worst, Math.abs(Number(actual[i]) - expected[i]!));
  expect(worst).toBeGreaterThanOrEqual(0); // NaN is not
  return worst;
}

/** Half of the encoder's channels removed, by other shares in every block. */
export function halved(sam: Sam): Sam {
  const axes = encoderAxes(sam.weights, sam.config);
  const every = (step: number, length: number) => Array.from({ length: Math.ceil(length / step) }, (_, i) => i * step);
  const keep: Record<string, number[]> = { embed: every(2, 48) };
  for (const i of [0, 1, 2, 3]) {
    keep[`blocks.${i}.head`] = every(2, 12).slice(0, 6 - i);
    keep[`blocks.${i}.mlp`] = every(2, 192).slice(i);
  }
  return { weights: prune(sam.weights, axes, keep), config: sam.config };
}
