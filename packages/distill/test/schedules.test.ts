import { expect, test } from 'vitest';
import { plateau, shuffledBatches, warmupCosine } from '../src/index.ts';

test('warmup rises from the first step to the peak, then a cosine falls to 0', () => {
  const rate = warmupCosine({ peak: 2, warmup: 4, steps: 12 });
  const values = Array.from({ length: 14 }, (_, step) => rate({ step }));
  expect(values.slice(0, 5)).toEqual([0.5, 1, 1.5, 2, 2]);
  expect(values[8]).toBeCloseTo(1);
  expect(values.slice(12)).toEqual([0, 0]);
  expect(warmupCosine({ peak: 3, warmup: 0, steps: 10 })({ step: 0 })).toBe(3);
});

test('a plateau halves after more than `patience` epochs without a rise, and goes on from its state', () => {
  const options = { learningRate: 1, patience: 2 };
  const metrics = [-5, 1, 2, 2, 1, 0, 3, 3, 3, 3, 3, 3];
  const wanted = [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25];
  let rate = plateau(options);
  const seen = metrics.map((metric) => {
    rate = plateau({ ...options, from: JSON.parse(JSON.stringify(rate.state())) });
    const best = rate.feed(metric);
    return { best, learningRate: rate.learningRate };
  });
  expect(seen.map(({ learningRate }) => learningRate)).toEqual(wanted);
  expect(seen.map(({ best }) => best)).toEqual([1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0].map(Boolean));
});

test('batches: every index once an epoch, another order each epoch, the same order each time, from any batch on', () => {
  const of = (epoch: number, startBatch = 0) => [...shuffledBatches(10, { batchSize: 4, seed: 7, epoch, startBatch })];
  expect(of(0).map((batch) => batch.length)).toEqual([4, 4, 2]);
  expect(
    of(0)
      .flat()
      .sort((a, b) => a - b),
  ).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(of(0)).toEqual(of(0));
  expect(of(1)).not.toEqual(of(0));
  expect(of(0, 2)).toEqual(of(0).slice(2));
  expect(of(0, 3)).toEqual([]);
  expect(() => [...shuffledBatches(10, { batchSize: 0, seed: 1, epoch: 0 })]).toThrow(
    'expected batchSize to be 1, 2, …, got 0',
  );
});

test('numbers that make no schedule are refused', () => {
  expect(() => plateau({ learningRate: Number.NaN, patience: 3 })).toThrow(
    'expected learningRate to be 0 or more, got NaN',
  );
  expect(() => plateau({ learningRate: 1, patience: -1 })).toThrow('expected patience to be 0 or more, got -1');
  expect(() => plateau({ learningRate: 1, patience: 1 }).feed(Number.NaN)).toThrow('expected a finite metric, got NaN');
  expect(() => warmupCosine({ peak: Number.POSITIVE_INFINITY, warmup: 1, steps: 2 })).toThrow('expected peak to be 0');
});
