import { expect, test } from 'vitest';
import { select } from '../src/index.ts';
import { normalise } from '../src/normalise.ts';

const rising = (size: number): Float32Array => Float32Array.from({ length: size }, (_, i) => i + 1);

test.each([
  [768, 0.77, 12, 168], // the paper's uniform SlimSAM-77
  [3072, 0.77, 12, 696],
  [768, 0.5, 12, 384],
  [10, 0.9, 1, 1],
  [7, 0, 1, 7],
  [5, 0.99, 4, 4],
  [3, 0.99, 4, 3],
])('local: %i channels at %f in multiples of %i keep %i', (size, ratio, roundTo, width) => {
  const { keep: kept } = select({
    importance: { d: rising(size) },
    ratio,
    ranking: 'local',
    normalise: 'mean',
    roundTo,
  });
  expect(kept.d).toEqual(Array.from({ length: width }, (_, i) => size - width + i));
});

test('global: one ranking over a class, rounded widths meet the ratio, no dimension empties', () => {
  const importance = { 'blocks.0.mlp': rising(8), 'blocks.1.mlp': rising(8).map((x) => x + 100) };
  const options = { importance, ratio: 0.5, ranking: 'global', normalise: 'none' } as const;
  expect(select(options)).toEqual({
    keep: { 'blocks.0.mlp': [7], 'blocks.1.mlp': [1, 2, 3, 4, 5, 6, 7] },
    asked: 0.5,
    given: 0.5,
  });
  const fours = { 'blocks.0.mlp': [4, 5, 6, 7], 'blocks.1.mlp': [4, 5, 6, 7] };
  expect(select({ ...options, roundTo: 4 }).keep).toEqual(fours);
  expect(select({ ...options, normalise: 'standard' }).keep).toEqual(fours);
});

test('rounding by index drops the first candidates, by score the lowest', () => {
  const importance = { d: Float32Array.from([5, 6, 3, 7, 1, 8, 2, 9]) };
  const options = { importance, ratio: 0.35, ranking: 'global', normalise: 'none', roundTo: 2 } as const;
  // candidates 2, 4 and 6 (scores 3, 1, 2); one of them must stay
  expect(select({ ...options, reference: {} }).keep.d).toEqual([0, 1, 2, 3, 5, 7]);
  expect(select({ ...options, reference: { roundByIndex: true } }).keep.d).toEqual([0, 1, 3, 5, 6, 7]);
});

test('averageHeads ties the channels of all heads', () => {
  const importance = { d: Float32Array.from([1, 9, 5, 9, 2, 4]) }; // two heads of three: means 5, 5.5, 4.5
  const options = { importance, ratio: 0.34, ranking: 'local', normalise: 'mean' } as const;
  expect(select({ ...options, reference: { averageHeads: 2 } }).keep.d).toEqual([0, 1, 3, 4]);
  expect(() => select({ ...options, reference: { averageHeads: 4 } })).toThrow(
    'expected a multiple of 4 channels, got 6',
  );
});

test.each([-0.1, 1, Number.NaN])('ratio %f is refused', (ratio) => {
  const options = { importance: { d: rising(3) }, ranking: 'local', normalise: 'mean' } as const;
  expect(() => select({ ...options, ratio })).toThrow('select: expected a ratio in [0, 1)');
});

test('bad roundTo and bad scores are refused', () => {
  const options = { importance: { d: rising(3) }, ratio: 0.5, ranking: 'local', normalise: 'mean' } as const;
  expect(() => select({ ...options, roundTo: 1.5 })).toThrow(
    'select: expected roundTo to be a positive integer, got 1.5',
  );
  expect(() => select({ ...options, importance: { d: Float32Array.of(1, Number.NaN) } })).toThrow("scores of 'd'");
});

test('normalise', () => {
  expect(normalise(Float32Array.of(1, 3), 'mean')).toEqual(Float32Array.of(0.5, 1.5));
  expect(normalise(Float32Array.of(1, 2, 3), 'standard')).toEqual(Float32Array.of(-1, 0, 1));
  expect(normalise(Float32Array.of(2, 2), 'standard')).toEqual(Float32Array.of(0, 0));
  expect(normalise(Float32Array.of(0, 0), 'mean')).toEqual(Float32Array.of(1, 1));
});
