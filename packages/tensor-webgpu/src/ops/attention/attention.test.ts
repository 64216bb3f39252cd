import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { type AttentionCase, checkAttention } from '../../../test/attention-float64.ts';
import { backendWithOps } from '../../../test/ops-testing.ts';
import { attention, attentionReference } from '../index.ts';

backendWithOps();

const c = (G: number, Nq: number, D: number, grid: [number, number], bias: boolean): AttentionCase => ({
  G,
  Nq,
  D,
  grid,
  bias,
});

const cases = [
  c(2, 256, 32, [16, 16], true),
  c(1, 196, 64, [14, 14], true),
  c(2, 25, 80, [5, 5], true),
  c(3, 64, 14, [8, 8], true), // a pruned head width: no vec4 rows
  c(2, 5, 8, [17, 3], true), // rows of keys narrower than a subgroup, more of them than lanes
  c(1, 3, 16, [2, 131], true), // rows of keys longer than a panel
  c(1, 65, 64, [2, 64], true), // the width's bias read four at once
  c(1, 1, 32, [1, 1], true),
  c(1, 7, 16, [256, 1], false), // cross attention, both ways
  c(1, 256, 16, [7, 1], false),
  ...[63, 64, 65].map((N) => c(2, N, 64, [N, 1], false)), // a panel is 64 keys, a tile 64 queries
  ...[16, 32, 80].map((D) => c(1, 37, D, [97, 1], false)), // primes
];

test.each(cases)('attention and its gradients: %j', (shape) => checkAttention(shape));

// each width once with and once without bias; the panels' output passes through memory from 73 keys of 64 on
const halfCases = cases.filter(({ Nq }) => [1, 25, 37, 63, 64, 65, 196].includes(Nq));
test.each(halfCases)('half precision: attention and its gradients: %j', (shape) =>
  checkAttention(shape, { inHalves: true }),
);

test('the reference agrees with the oracle', () =>
  checkAttention(c(2, 9, 8, [3, 5], true), { op: attentionReference }));

test('more attentions than a row of workgroups', async () => {
  const query = tf.randomNormal([40000, 1, 8]);
  const value = tf.randomNormal([40000, 2, 8]);
  const [a, b] = [attention, attentionReference].map((op) => op({ query, key: value, value }));
  const difference = await tf.max(tf.abs(tf.sub(a!, b!))).data();
  expect(difference[0]).toBeLessThan(1e-5);
  tf.dispose([query, value, a!, b!]);
});

test('errors name the shapes and the cure', () => {
  const tensor = (...shape: number[]) => tf.zeros(shape);
  const query = tensor(2, 3, 8);
  expect(() => attention({ query, key: tensor(2, 6, 7), value: tensor(2, 6, 7) })).toThrow(
    'attention: expected key [G, Nk, D] = [2, Nk, 8], got [2,6,7]',
  );
  expect(() => attention({ query, key: tensor(2, 6, 8), value: tensor(2, 6, 8), scale: Number.NaN })).toThrow(
    'attention: expected a finite scale, got NaN',
  );
  const bias = { height: tensor(2, 3, 2), width: tensor(2, 3, 2) };
  expect(() => attention({ query, key: tensor(2, 6, 8), value: tensor(2, 6, 8), bias })).toThrow('expected 6 keys');
});
