import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { beforeAll, expect, test } from 'vitest';
import { adamStep, attention, gelu, layerNorm, linear } from './index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

test('references run and differentiate', () => {
  const q = tf.randomNormal([2, 3, 8]);
  const k = tf.randomNormal([2, 6, 8]);
  const v = tf.randomNormal([2, 6, 8]);
  const h = tf.randomNormal([2, 3, 2]);
  const w = tf.randomNormal([2, 3, 3]);
  const g = tf.grads((q, k, v, h, w) =>
    tf.sum(attention({ query: q!, key: k!, value: v!, bias: { height: h!, width: w! } })),
  )([q, k, v, h, w]);
  expect(g.map((t) => t.shape)).toEqual([
    [2, 3, 8],
    [2, 6, 8],
    [2, 6, 8],
    [2, 3, 2],
    [2, 3, 3],
  ]);
  const x = tf.randomNormal([2, 5, 8]);
  const gs = tf.grads((x, s, o, W, b) =>
    tf.sum(linear(gelu(layerNorm(x!, { scale: s!, offset: o! })), { weight: W!, bias: b! })),
  )([x, tf.ones([8]), tf.zeros([8]), tf.randomNormal([7, 8]), tf.zeros([7])]);
  expect(gs.map((t) => t.shape)).toEqual([[2, 5, 8], [8], [8], [7, 8], [7]]);
  expect(adamStep({ weight: x, gradient: x, m: x, v: tf.square(x) }, { step: 1, learningRate: 0.1 }).m.shape).toEqual([
    2, 5, 8,
  ]);
  expect(() => attention({ query: q, key: x, value: v })).toThrow(/attention: expected value/);
});
