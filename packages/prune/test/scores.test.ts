import '@tensorflow/tfjs-backend-cpu';
import '@slimsam/tensor-webgpu/ops';
import type { Axes, Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  accumulateGradients,
  agreement,
  blockImportance,
  criteria,
  disturbedLoss,
  importance,
  keptOverlap,
  noise,
  rankStability,
  ratiosBySensitivity,
  type SensitivityPoint,
  select,
  sensitivity,
  spearman,
} from '../src/index.ts';
import { type Normalise, normalise } from '../src/normalise.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const axes: Axes = { 'a.weight': ['hidden', null], 'b.weight': [null, 'hidden'] };
const channels = 24;
const random = (shape: number[], seed: number) => noise(shape, { seed, sigma: 1 });
const network = (): Weights => ({ 'a.weight': random([channels, 6], 1), 'b.weight': random([4, channels], 2) });
const forward = (weights: Weights, input: tf.Tensor) =>
  tf.matMul(tf.relu(tf.matMul(input, weights['a.weight']!, false, true)), weights['b.weight']!, false, true);
const gradientsOf = (
  weights: Weights,
  {
    mode,
    sigma = 0.01,
    from = 0,
    count = 6,
    seed = 0,
  }: { mode: 'squared' | 'absolute' | 'signed'; sigma?: number; from?: number; count?: number; seed?: number },
) =>
  accumulateGradients({
    weights,
    mode,
    batches: Array.from({ length: count }, (_, i) => from + i),
    loss: (table, photograph) => {
      const output = forward(table, random([8, 6], 1000 + photograph));
      return disturbedLoss(output, noise(output.shape, { seed: seed * 100_000 + photograph, sigma }));
    },
  });
const scoresOf = async (
  weights: Weights,
  criterion: keyof typeof criteria,
  gradients?: Awaited<ReturnType<typeof gradientsOf>>,
) => (await importance({ criterion, weights, axes, dimensions: ['hidden'], ...(gradients && { gradients }) })).hidden!;
const permuted = (weights: Weights, order: number[]): Weights => ({
  'a.weight': tf.gather(weights['a.weight']!, tf.tensor1d(order, 'int32')),
  'b.weight': tf.gather(weights['b.weight']!, tf.tensor1d(order, 'int32'), 1),
});
const close = (got: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number) => {
  expect(got.length).toBe(wanted.length);
  const scale = Math.max(...Array.from(wanted, Math.abs));
  for (let i = 0; i < wanted.length; i++) expect(Math.abs(got[i]! - wanted[i]!) / scale).toBeLessThan(tolerance);
};
const names = (Object.keys(criteria) as (keyof typeof criteria)[]).filter((name) => name !== 'random');
const modes = ['squared', 'absolute', 'signed'] as const;

describe.each(names)('%s', (criterion) => {
  test('does not depend on the order of channels, and scores equal channels equally', async () => {
    const order = Array.from({ length: channels }, (_, i) => (i * 7 + 3) % channels);
    const weights = network();
    const score = async (table: Weights) => scoresOf(table, criterion, await gradientsOf(table, { mode: 'squared' }));
    const plain = await score(weights);
    close(
      await score(permuted(weights, order)),
      order.map((i) => plain[i]!),
      1e-5,
    );
    const twins = await score(
      permuted(
        weights,
        order.map((i) => (i === 5 ? 8 : i)),
      ),
    );
    const [one, other] = [order.indexOf(5), order.indexOf(8)];
    expect(Math.abs(twins[one]! / twins[other]! - 1)).toBeLessThan(1e-5);
  });

  test('is what float64 sums give', async () => {
    const weights = network();
    const gradients = await gradientsOf(weights, { mode: 'squared' });
    const elements = {
      taylor: (w: number, g: number) => w * w * g,
      hessian: (w: number, g: number) => (w * w * g) / 6 / 2,
      magnitude: (w: number) => w * w,
      'magnitude-l1': (w: number) => Math.abs(w),
    }[criterion as 'taylor'];
    const [a, ga] = await Promise.all([weights['a.weight']!.data(), gradients.sums['a.weight']!.data()]);
    const [b, gb] = await Promise.all([weights['b.weight']!.data(), gradients.sums['b.weight']!.data()]);
    const wanted = Array.from({ length: channels }, (_, c) => {
      let sum = 0;
      for (let i = 0; i < 6; i++) sum += elements(a[c * 6 + i]!, ga[c * 6 + i]!);
      for (let o = 0; o < 4; o++) sum += elements(b[o * channels + c]!, gb[o * channels + c]!);
      return sum / 2;
    });
    close(await scoresOf(weights, criterion, gradients), wanted, 1e-6);
  });
});

test.each(modes)('sigma cancels out of normalised scores: %s', async (mode) => {
  const weights = network();
  const at = async (sigma: number) => scoresOf(weights, 'taylor', await gradientsOf(weights, { mode, sigma }));
  const [small, large] = [await at(0.004), await at(0.07)];
  const factor = (0.07 / 0.004) ** (mode === 'squared' ? 2 : 1);
  close(
    large,
    small.map((x) => x * factor),
    1e-4,
  );
  for (const how of ['mean', 'sum', 'max', 'standard'] as const satisfies Normalise[])
    close(normalise(large, how), normalise(small, how), 1e-4);
  expect(spearman(small, large)).toBeGreaterThan(0.999);
});

test('hessian with the disturbed loss: the exact diagonal, from second differences of the loss in float64', async () => {
  const weights = network();
  const [rows, draws, sigma] = [8, 512, 0.01];
  const input = random([rows, 6], 77);
  const gradients = await accumulateGradients({
    weights,
    batches: Array.from({ length: draws }, (_, i) => i),
    loss: (table, draw) => {
      const output = forward(table, input);
      return disturbedLoss(output, noise(output.shape, { seed: draw, sigma }));
    },
  });
  const [x, a, b] = (await Promise.all([input, weights['a.weight']!, weights['b.weight']!].map((t) => t.data()))).map(
    (values) => Float64Array.from(values),
  ) as [Float64Array, Float64Array, Float64Array];
  const run = () =>
    Array.from({ length: rows }, (_, row) => {
      const hidden = Array.from({ length: channels }, (_, c) => {
        let sum = 0;
        for (let i = 0; i < 6; i++) sum += x[row * 6 + i]! * a[c * 6 + i]!;
        return Math.max(0, sum);
      });
      return Array.from({ length: 4 }, (_, o) => hidden.reduce((sum, h, c) => sum + h * b[o * channels + c]!, 0));
    }).flat();
  const whole = run();
  const mse = () => run().reduce((sum, y, i) => sum + (y - whole[i]!) ** 2, 0) / whole.length;
  const saliency = (values: Float64Array, at: number) => {
    const [w, step] = [values[at]!, 1e-4];
    const loss = [w + step, w - step].map((value) => {
      values[at] = value;
      return mse();
    });
    values[at] = w;
    return (((loss[0]! + loss[1]!) / step ** 2) * w * w) / 2; // the loss itself is 0
  };
  const exact = Array.from({ length: channels }, (_, c) => {
    let sum = 0;
    for (let i = 0; i < 6; i++) sum += saliency(a, c * 6 + i);
    for (let o = 0; o < 4; o++) sum += saliency(b, o * channels + c);
    return sum / 2; // two members
  });
  const scores = await scoresOf(weights, 'hessian', gradients);
  const scale = whole.length / (2 * sigma ** 2);
  // g² of normal g has a relative deviation of √2 at most in a sum; four deviations of the mean over draws
  const bound = 4 * Math.sqrt(2 / draws);
  exact.forEach((value, c) => {
    expect(Math.abs((scores[c]! * scale) / value - 1), `channel ${c}`).toBeLessThan(bound);
  });
  expect(spearman(scores, exact)).toBeGreaterThan(0.95);
});

test('two disjoint halves of the photographs: scores that add up by photograph agree, signed sums do not', async () => {
  const weights = network();
  const seeds = 3;
  const correlation = { squared: 0, absolute: 0, signed: 0 };
  for (const mode of modes) {
    for (let seed = 0; seed < seeds; seed++) {
      const half = async (from: number) =>
        scoresOf(weights, 'taylor', await gradientsOf(weights, { mode, from, count: 32, seed }));
      const found = spearman(await half(0), await half(500));
      // chance: scores of no relation have a correlation of deviation 1 / √(channels - 1); three deviations
      if (mode !== 'signed') expect(found).toBeGreaterThan(3 / Math.sqrt(channels - 1));
      correlation[mode] += found / seeds;
    }
  }
  // the deviation of a mean of correlations r is (1 - r²) / √(channels - 1) / √seeds (to first order); two of the difference
  const variance = (r: number) => (1 - r * r) ** 2 / (channels - 1) / seeds;
  for (const mode of ['squared', 'absolute'] as const) {
    const apart = 2 * Math.sqrt(variance(correlation[mode]) + variance(correlation.signed));
    expect(correlation[mode] - correlation.signed, mode).toBeGreaterThan(apart);
  }
});

test('Spearman’s correlation and the overlap of kept sets, by hand', () => {
  expect(spearman([1, 2, 3, 4], [10, 20, 30, 40])).toBe(1);
  expect(spearman([1, 2, 3, 4], [4, 3, 2, 1])).toBe(-1);
  expect(spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])).toBeCloseTo(1 - (6 * 4) / (5 * 24), 12);
  expect(spearman([1, 1, 2], [1, 2, 3])).toBeCloseTo(Math.sqrt(3) / 2, 12); // ranks 0.5, 0.5, 2
  expect(spearman([1, 1], [1, 2])).toBe(0);
  expect(keptOverlap({ a: [0, 1, 2], b: [4] }, { a: [1, 2, 3], b: [4] })).toBe(0.75);
  expect(() => spearman([1], [1])).toThrow('expected two scorings of two channels or more, got 1 and 1');
  const how = { ratio: 0.5, ranking: 'local', normalise: 'none' } as const;
  expect(agreement({ d: Float32Array.of(1, 2, 3, 4) }, { d: Float32Array.of(1, 3, 2, 4) }, how)).toEqual({
    spearman: 0.8,
    overlap: 0.5,
  });
  expect(() => agreement({ d: Float32Array.of(1, 2) }, { e: Float32Array.of(1, 2) }, how)).toThrow('got d and e');
});

test('stability: the number of photographs from which the kept set stays', () => {
  const at = (photographs: number, ...scores: number[]) => ({ photographs, scores: { d: Float32Array.from(scores) } });
  const how = { ratio: 0.5, ranking: 'local', normalise: 'none' } as const;
  const series = [at(4, 1, 2, 3, 4), at(8, 4, 3, 2, 1), at(16, 1, 2, 4, 3), at(32, 1, 2, 3, 4)];
  const { points, stableFrom } = rankStability(series, how);
  expect(stableFrom).toBe(16);
  expect(points.map(({ photographs, overlap }) => [photographs, overlap])).toEqual([
    [4, 1],
    [8, 0],
    [16, 1],
    [32, 1],
  ]);
  expect(rankStability(series, { ...how, tolerance: 1 }).stableFrom).toBe(4);
  expect(() => rankStability(series.slice(0, 1), how)).toThrow('expected two scorings or more, got 1');
  expect(() => rankStability([series[1]!, series[0]!], how)).toThrow('rising numbers of photographs, got 4 after 8');
});

test('sensitivity: errors by dimension and share, and ratios of equal error', async () => {
  const weights = { 'c.weight': tf.tensor2d([1, 2, 3, 4], [4, 1]), 'd.weight': tf.tensor2d([10, 20, 30, 40], [4, 1]) };
  const table: Axes = { 'c.weight': ['c', null], 'd.weight': ['d', null] };
  const scores = { c: Float32Array.of(1, 2, 3, 4), d: Float32Array.of(1, 2, 3, 4) };
  const before = tf.memory().numTensors;
  const points: SensitivityPoint[] = [];
  const error = async (pruned: Weights) => {
    const left = tf.tidy(() => tf.add(tf.sum(pruned['c.weight']!), tf.sum(pruned['d.weight']!)));
    const [value] = await left.data();
    left.dispose();
    return 110 - value!;
  };
  const options = { weights, axes: table, importance: scores, shares: [0.25, 0.5, 0.75], error };
  for await (const point of sensitivity(options)) points.push(point);
  expect(points.map((point) => point.error)).toEqual([1, 3, 6, 10, 30, 60]);
  expect(tf.memory().numTensors).toBe(before);
  const ratios = ratiosBySensitivity(points, { ratio: 0.5, sizes: { c: 4, d: 4 } });
  expect(ratios.c! + ratios.d!).toBeCloseTo(1, 9);
  expect(ratios.c).toBeCloseTo(0.75, 9); // all that was measured
  expect(ratios.d).toBeCloseTo(0.25, 9);
  const kept = select({ importance: scores, ratio: ratios, ranking: 'local', normalise: 'none' });
  expect(kept.keep).toEqual({ c: [3], d: [1, 2, 3] });
  expect(() => ratiosBySensitivity(points, { ratio: 0.9, sizes: { c: 4, d: 4 } })).toThrow(
    'points up to a ratio of 0.9, got 0.750',
  );
  expect(() => ratiosBySensitivity(points, { ratio: 0.5, sizes: { e: 4 } })).toThrow("points of 'e', got none");
  await expect(sensitivity({ ...options, error: () => Number.NaN }).next()).rejects.toThrow(
    "error >= 0 of 'c', got NaN",
  );
});

test('a block’s score is how far it turns the stream', async () => {
  const streams = [
    [1, 0],
    [2, 0],
    [0, 5],
    [0, -1],
  ].map((row) => tf.tensor2d([row, row]));
  const scores = await blockImportance(() => streams, { batches: [1, 2] });
  expect(scores).toEqual([0, 1, 2]);
  await expect(blockImportance(() => streams, { batches: [] })).rejects.toThrow('at least one batch');
});

test('normalisers', () => {
  const x = Float32Array.of(1, 3, 4);
  close(normalise(x, 'sum'), [1 / 8, 3 / 8, 4 / 8], 1e-6);
  close(normalise(x, 'max'), [1 / 4, 3 / 4, 1], 1e-6);
  expect(normalise(x, 'none')).toEqual(x);
  // quantiles of 1/6, 1/2 and 5/6
  close(normalise(x, 'gaussian-rank'), [-0.96742, 0, 0.96742], 1e-3);
  expect(normalise(Float32Array.of(7, 7, 9), 'gaussian-rank')[0]).toBe(
    normalise(Float32Array.of(7, 7, 9), 'gaussian-rank')[1],
  );
  expect(() => normalise(x, 'other' as Normalise)).toThrow("got 'other'");
});
