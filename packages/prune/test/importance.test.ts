import '@tensorflow/tfjs-backend-cpu';
import type { Axes } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { countMacs, countParameters, importance, type ScoredWeight } from '../src/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const axes: Axes = {
  'in.weight': ['d', null],
  'in.bias': ['d'],
  'qkv.weight': [
    {
      stacked: [
        [2, 'head'],
        [2, 'head'],
        [2, 'head'],
      ],
    },
    'd',
  ],
  'out.weight': [null, [2, 'head']],
  table: [null, 'd'],
};

const makeWeights = () => ({
  'in.weight': tf.tensor2d([1, 2, 3, 4], [2, 2]),
  'in.bias': tf.tensor1d([100, 100]),
  'qkv.weight': tf.ones([18, 2]),
  'out.weight': tf.tensor2d([1, 2, 3, 4, 5, 6], [1, 6]),
  table: tf.tensor2d([100, 100], [1, 2]),
});

test('magnitude: the group mean over matrices only, through product axes', async () => {
  const before = tf.memory().numTensors;
  const weights = makeWeights();
  const scores = await importance({ criterion: 'magnitude', weights, axes, dimensions: ['d', 'head'] });
  expect(scores.d).toEqual(Float32Array.of((1 + 4 + 18) / 2, (9 + 16 + 18) / 2));
  // q, k and v: 2 rows of two ones each; 1 + 16, 4 + 25, 9 + 36
  expect(scores.head).toEqual(Float32Array.of((12 + 17) / 4, (12 + 29) / 4, (12 + 45) / 4));
  tf.dispose(weights);
  expect(tf.memory().numTensors).toBe(before);
});

test('random is seeded; a criterion of one’s own is an object', async () => {
  const options = { weights: makeWeights(), axes, dimensions: ['head'] } as const;
  const first = await importance({ ...options, criterion: 'random', seed: 3 });
  expect(await importance({ ...options, criterion: 'random', seed: 3 })).toEqual(first);
  expect(await importance({ ...options, criterion: 'random', seed: 4 })).not.toEqual(first);
  const fourth = { needsGradients: false, elements: ({ weight }: ScoredWeight) => tf.pow(weight, 4) };
  const scores = await importance({ ...options, criterion: fourth, reduction: 'sum' });
  expect(scores.head).toEqual(Float32Array.of(12 + 257, 12 + 16 + 625, 12 + 81 + 1296));
});

test('reductions over members, and biases and tables where asked', async () => {
  const options = { criterion: 'magnitude-l1', weights: makeWeights(), axes, dimensions: ['d', 'head'] } as const;
  expect((await importance({ ...options, reduction: 'sum' })).head).toEqual(Float32Array.of(12 + 5, 12 + 7, 12 + 9));
  expect((await importance({ ...options, reduction: 'max' })).head).toEqual(Float32Array.of(5, 7, 9));
  expect((await importance({ ...options, reduction: 'first' })).head).toEqual(Float32Array.of(4, 4, 4));
  const all = await importance({ ...options, scored: 'all', reduction: 'sum' });
  expect(all.d).toEqual(Float32Array.of(3 + 100 + 18 + 100, 7 + 100 + 18 + 100));
});

test('errors name what is missing', async () => {
  const weights = makeWeights();
  const options = { criterion: 'taylor', weights, axes, dimensions: ['d'] } as const;
  await expect(importance(options)).rejects.toThrow("expected a gradient [2, 2] of 'in.weight', got none");
  await expect(importance({ ...options, dimensions: ['e'] })).rejects.toThrow("dimensions d, head, got 'e'");
  await expect(importance({ ...options, scored: () => false })).rejects.toThrow("convolution weight in 'd', got none");
});

test('counts from shapes, by each convention', () => {
  const weights = {
    'a.qkv.weight': { shape: [14, 4] }, // q and k of 4, v of 6
    'a.qkv.bias': { shape: [14] },
    'a.proj.weight': { shape: [4, 6] },
    'b.conv.weight': { shape: [2, 3, 5, 5] },
  };
  expect(countParameters(weights)).toBe(56 + 14 + 24 + 150);
  expect(countParameters(weights, { prefix: 'a.' })).toBe(94);
  const costs = {
    applications: { 'a.qkv.weight': 10, 'b.conv.weight': 7 },
    activations: { 'b.conv.weight': 7 },
    biases: { 'a.qkv.bias': 1 },
    attention: [{ qkv: 'a.qkv.weight', proj: 'a.proj.weight', windows: 2, tokens: 5 }],
  };
  const macs = 560 + 1050;
  expect(countMacs(weights, costs)).toEqual({
    macs,
    macsWithAttention: macs + 2 * 25 * (4 + 6),
    paperMacs: macs + 7 * 2 + 14,
  });
  expect(() => countMacs({}, costs)).toThrow("countMacs: expected weight 'a.qkv.weight', got none");
});
