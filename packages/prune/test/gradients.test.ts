import '@tensorflow/tfjs-backend-cpu';
import '@slimsam/tensor-webgpu/ops';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { accumulateGradients, disturbedLoss, importance, noise } from '../src/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const makeWeights = () => ({ 'a.weight': tf.tensor2d([1, -2, 3, 4], [2, 2]), unused: tf.scalar(1) });
/** mean over 4 elements of (w * x): dL/dw = x / 4. */
const linearLoss = (weights: Weights, x: number): tf.Scalar => tf.mean(tf.mul(weights['a.weight']!, x));

test('signed sums cancel, absolute sums do not; loss and count; weights out of reach get no gradient', async () => {
  const weights = makeWeights();
  const signed = await accumulateGradients({ loss: linearLoss, weights, batches: [4, -8, 2], mode: 'signed' });
  expect(Object.keys(signed.sums)).toEqual(['a.weight']);
  expect([...(await signed.sums['a.weight']!.data())]).toEqual([-0.5, -0.5, -0.5, -0.5]);
  expect(signed.loss).toBeCloseTo(1.5 * (4 - 8 + 2));
  expect(signed.count).toBe(3);

  const absolute = await accumulateGradients({ loss: linearLoss, weights, batches: [4, -8, 2], mode: 'absolute' });
  const axes = { 'a.weight': ['d', null] } as const;
  const options = { criterion: 'taylor', weights, axes, dimensions: ['d'] } as const;
  // sum over the batches of |w g|: |w| (4 + 8 + 2) / 4
  expect((await importance({ ...options, gradients: absolute })).d).toEqual(Float32Array.of(10.5, 24.5));
  expect((await importance({ ...options, gradients: signed })).d).toEqual(Float32Array.of(1.5, 3.5));

  const squared = await accumulateGradients({ loss: linearLoss, weights, batches: [4, -8, 2] });
  expect(squared.mode).toBe('squared');
  // sum of (w g)²: w² (16 + 64 + 4) / 16
  expect((await importance({ ...options, gradients: squared })).d).toEqual(Float32Array.of(5 * 5.25, 25 * 5.25));
  const hessian = await importance({ ...options, criterion: 'hessian', gradients: squared });
  expect(hessian.d).toEqual(Float32Array.of((5 * 5.25) / 6, (25 * 5.25) / 6)); // w² / 2 times the mean of g²
  const wrong = importance({ ...options, criterion: 'hessian', gradients: signed });
  await expect(wrong).rejects.toThrow("expected gradients accumulated with mode 'squared', got 'signed'");
});

test('sums go on from earlier ones, and the index counts on', async () => {
  const weights = makeWeights();
  const indices: number[] = [];
  const loss = (table: Weights, x: number, { index }: { index: number }) => {
    indices.push(index);
    return linearLoss(table, x);
  };
  const first = await accumulateGradients({ loss, weights, batches: [4, -8] });
  const both = await accumulateGradients({ loss, weights, batches: [2], from: first });
  expect(indices).toEqual([0, 1, 2]);
  expect(both.count).toBe(3);
  expect([...(await both.sums['a.weight']!.data())]).toEqual([5.25, 5.25, 5.25, 5.25]);
  const other = accumulateGradients({ loss, weights, batches: [2], from: both, mode: 'signed' });
  await expect(other).rejects.toThrow("expected sums of mode 'signed' to go on from, got 'squared'");
  expect(both.sums['a.weight']!.isDisposed).toBe(true);
});

test('memory stays flat, from async batches too, and an abort frees the sums', async () => {
  const weights = makeWeights();
  const before = tf.memory().numTensors;
  const counts: number[] = [];
  const controller = new AbortController();
  async function* batches() {
    for (let i = 1; ; i++) {
      counts.push(tf.memory().numTensors);
      if (i === 6) controller.abort(new Error('enough'));
      yield i;
    }
  }
  const run = accumulateGradients({ loss: linearLoss, weights, batches: batches(), signal: controller.signal });
  await expect(run).rejects.toThrow('enough');
  expect(counts.slice(1)).toEqual([1, 1, 1, 1, 1].map((sums) => before + sums));
  expect(tf.memory().numTensors).toBe(before);
});

test('errors name the cause and free everything', async () => {
  const weights = makeWeights();
  const before = tf.memory().numTensors;
  const run = (batches: number[], loss = linearLoss) => accumulateGradients({ loss, weights, batches });
  await expect(run([])).rejects.toThrow('expected at least one batch');
  await expect(run([1, Number.NaN])).rejects.toThrow('expected a finite loss, got NaN in batch 1');
  const vector = (w: Weights) => tf.sum(w['a.weight']!, 0) as tf.Scalar;
  await expect(run([1], vector)).rejects.toThrow('expected a scalar loss, got shape [2]');
  expect(tf.memory().numTensors).toBe(before);
});

test('disturbedLoss is MSE(f, f + n) with a constant target', async () => {
  const weights = makeWeights();
  const n = noise([2, 2], { seed: 1, sigma: 0.5 });
  const target = tf.add(weights['a.weight'], n);
  const explicit = (w: Weights): tf.Scalar => tf.mean(tf.squaredDifference(w['a.weight']!, target));
  const one = await accumulateGradients({ loss: explicit, weights, batches: [0], mode: 'signed' });
  const disturbed = (w: Weights) => disturbedLoss(w['a.weight']!, n);
  const two = await accumulateGradients({ loss: disturbed, weights, batches: [0], mode: 'signed' });
  // noise made within the loss, as a caller does
  const inner = (w: Weights) => disturbedLoss(w['a.weight']!, noise([2, 2], { seed: 1, sigma: 0.5 }));
  const three = await accumulateGradients({ loss: inner, weights, batches: [0], mode: 'signed' });
  const wanted = await one.sums['a.weight']!.data();
  expect(two.loss).toBeCloseTo(one.loss, 6);
  for (const result of [two, three]) {
    const got = await result.sums['a.weight']!.data();
    for (let i = 0; i < 4; i++) expect(got[i]).toBeCloseTo(wanted[i]!, 6);
  }
  expect(() => disturbedLoss(n, tf.zeros([3]))).toThrow('expected noise of the output');
});

test.each(['normal', 'uniform', 'laplace'] as const)(
  '%s noise: mean 0, deviation sigma, seeded',
  async (distribution) => {
    const options = { seed: 7, sigma: 0.02, distribution };
    const values = (await noise([100, 1000], options).data()) as Float32Array;
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
    expect(Math.abs(mean)).toBeLessThan(0.02 * 0.015); // 4.7 standard errors
    expect(Math.abs(deviation / 0.02 - 1)).toBeLessThan(0.015);
    expect(await noise([100, 1000], options).data()).toEqual(values);
    expect(await noise([100, 1000], { ...options, seed: 8 }).data()).not.toEqual(values);
    const firsts: number[] = [];
    for (let seed = 1_000_000; seed < 1_000_200; seed++)
      firsts.push((await noise([1], { ...options, seed }).data())[0]!);
    const middle = firsts.reduce((sum, x) => sum + x, 0) / firsts.length;
    expect(Math.abs(middle)).toBeLessThan(0.02 * 0.35); // 5 standard errors: neighbouring seeds are independent
    const spread = Math.sqrt(firsts.reduce((sum, x) => sum + (x - middle) ** 2, 0) / firsts.length);
    expect(spread).toBeGreaterThan(0.02 * 0.7);
    expect(spread).toBeLessThan(0.02 * 1.4);
  },
);

test('bad noise options are refused', () => {
  expect(() => noise([1], { seed: 0.5 })).toThrow('expected an integer seed');
  expect(() => noise([1], { seed: 1, sigma: 0 })).toThrow('expected sigma > 0');
});
