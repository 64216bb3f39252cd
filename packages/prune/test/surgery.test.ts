import '@tensorflow/tfjs-backend-cpu';
import type { Axes, Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { noise, prune } from '../src/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const axes: Axes = {
  'qkv.weight': [[3, 2, 'head'], 'd'],
  'qkv.bias': [[3, 2, 'head']],
  'out.weight': ['d', [2, 'head']],
  conv: ['d', null, null],
};
let weights: Weights;

beforeEach(() => {
  const random = (shape: number[], seed: number) => noise(shape, { seed, sigma: 1 });
  weights = {
    'qkv.weight': random([30, 4], 1),
    'qkv.bias': random([30], 2),
    'out.weight': random([4, 10], 3),
    conv: random([4, 2, 2], 4),
    other: random([3], 5),
  };
});

const plain = async (table: Weights) =>
  Object.fromEntries(
    await Promise.all(
      Object.entries(table).map(async ([name, t]) => [name, [t.shape, [...(await t.data())]]] as const),
    ),
  );

test('keeping all is the identity, in new tensors', async () => {
  const same = prune(weights, axes, { d: [0, 1, 2, 3], head: [0, 1, 2, 3, 4] });
  const values = await plain(weights);
  expect(await plain(same)).toEqual(values);
  expect(await plain(prune(weights, axes, {}))).toEqual(values);
  tf.dispose(same);
  expect(await plain(weights)).toEqual(values);
});

test('a product axis keeps the same channels in q, k and v of every head', async () => {
  const pruned = prune(weights, axes, { head: [1, 4] });
  expect(pruned['qkv.weight']!.shape).toEqual([12, 4]);
  const rows = [1, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 29];
  const wanted = tf.gather(weights['qkv.weight']!, tf.tensor1d(rows, 'int32'));
  expect(await pruned['qkv.weight']!.data()).toEqual(await wanted.data());
  expect(pruned['out.weight']!.shape).toEqual([4, 4]);
  expect(pruned.conv!.shape).toEqual([4, 2, 2]);
});

test('prunes compose, in one dimension and over two', async () => {
  const once = prune(weights, axes, { head: [1, 4], d: [0, 2] });
  const twice = prune(prune(prune(weights, axes, { head: [1, 2, 4] }), axes, { d: [0, 2] }), axes, { head: [0, 2] });
  expect(await plain(twice)).toEqual(await plain(once));
});

test('moments of a part of the weights are sliced the same way', async () => {
  const keep = { head: [0, 3], d: [3] };
  const { other: _, conv: __, ...part } = weights;
  const all = await plain(prune(weights, axes, keep));
  const moments = await plain(prune(part, axes, keep));
  expect(moments).toEqual(Object.fromEntries(Object.keys(part).map((name) => [name, all[name]])));
});

test.each([
  [{ d: [] }, "at least one kept channel of 'd', got none"],
  [{ d: [0, 4] }, "kept channels of 'd' in [0, 4), got 4"],
  [{ d: [0.5] }, "kept channels of 'd' in [0, 4), got 0.5"],
  [{ d: [1, 1] }, "sorted, unique channels of 'd', got 1 before 1"],
  [{ d: [2, 1] }, "sorted, unique channels of 'd', got 2 before 1"],
  [{ e: [0] }, "one of the dimensions head, d, got 'e'"],
])('kept %j is refused before any tensor is made', (keep, message) => {
  const before = tf.memory().numTensors;
  expect(() => prune(weights, axes, keep as Record<string, number[]>)).toThrow(message);
  expect(tf.memory().numTensors).toBe(before);
});
