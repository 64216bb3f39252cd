import { linear } from '@slimsam/weights';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { importance, prune, select } from '../src/index.ts';

/** What TypeScript would not let through: one error each that names the thing. */
const wrong = (value: unknown) => value as never;
const axes = linear('a', 'out', 'in');
const scores = { a: Float32Array.of(1, 2) };
let weights: Record<string, tf.Tensor>;
beforeAll(async () => {
  await tf.setBackend('cpu');
  weights = { 'a.weight': tf.ones([4, 3]), 'a.bias': tf.ones([4]) };
});

const calls: [string, () => unknown, string][] = [
  ['keep = 3', () => prune(weights, axes, wrong(3)), 'expected lists of kept channels by dimension, got 3'],
  ['keep = null', () => prune(weights, axes, wrong(null)), 'by dimension, got null'],
  ['keep of a dimension = 3', () => prune(weights, axes, wrong({ out: 3 })), "kept channels of 'out', got 3"],
  [
    "a criterion named 'toString'",
    () => importance({ criterion: wrong('toString'), weights, axes, dimensions: ['out'] }),
    "expected one of the criteria taylor, hessian, magnitude, magnitude-l1, random, got 'toString'",
  ],
  [
    'a misspelt ranking',
    () => select({ importance: scores, ratio: 0.5, ranking: wrong('globl'), normalise: 'mean' }),
    "expected ranking 'local' or 'global', got 'globl'",
  ],
  [
    'a ratio of NaN',
    () => select({ importance: scores, ratio: Number.NaN, ranking: 'local', normalise: 'mean' }),
    'expected a ratio in [0, 1), got NaN',
  ],
];
test.each(calls)('%s is refused', async (_, call, message) => {
  await expect((async () => call())()).rejects.toThrow(message);
});
