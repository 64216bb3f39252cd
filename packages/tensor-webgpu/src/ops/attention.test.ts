import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { asGpu, backendWithOps, expectOp, type Values, values } from '../../test/ops-testing.ts';
import { attention, attentionReference } from './index.ts';

const backend = backendWithOps();

// float32 rounds at 6e-8, sums of up to 256 terms with an exp of about 1e-6 in each: 1e-5 of the largest value
const tolerance = 1e-5;

interface Case {
  readonly G: number;
  readonly Nq: number;
  readonly D: number;
  readonly grid: readonly [number, number];
  readonly bias: boolean;
}

/** Attention and its gradients in float64, by the formulas with all scores. */
function oracle({ G, Nq, D, grid: [kh, kw] }: Case, inputs: Values, dy: Float64Array): Record<string, Float64Array> {
  const Nk = kh * kw;
  const scale = 1 / Math.sqrt(D);
  const { query, key, value, height, width } = inputs;
  const zeros = (name: string) => new Float64Array(inputs[name]?.data.length ?? 0);
  const sums = {
    output: new Float64Array(G * Nq * D),
    query: zeros('query'),
    key: zeros('key'),
    value: zeros('value'),
  };
  const bias = { height: zeros('height'), width: zeros('width') };
  for (let g = 0; g < G; g++) {
    for (let q = g * Nq; q < (g + 1) * Nq; q++) {
      const row = (k: number) => g * Nk + k;
      const score = Array.from({ length: Nk }, (_, k) => {
        let s = height ? height.data[q * kh + Math.floor(k / kw)]! + width!.data[q * kw + (k % kw)]! : 0;
        for (let e = 0; e < D; e++) s += scale * query!.data[q * D + e]! * key!.data[row(k) * D + e]!;
        return s;
      });
      const top = Math.max(...score);
      const weights = score.map((s) => Math.exp(s - top));
      const total = weights.reduce((a, b) => a + b);
      const dots = weights.map((w, k) => {
        let dot = 0;
        for (let e = 0; e < D; e++) {
          sums.output[q * D + e]! += (w / total) * value!.data[row(k) * D + e]!;
          sums.value[row(k) * D + e]! += (w / total) * dy[q * D + e]!;
          dot += dy[q * D + e]! * value!.data[row(k) * D + e]!;
        }
        return dot;
      });
      const mean = dots.reduce((sum, dot, k) => sum + (dot * weights[k]!) / total, 0);
      dots.forEach((dot, k) => {
        const ds = (weights[k]! / total) * (dot - mean);
        for (let e = 0; e < D; e++) {
          sums.query[q * D + e]! += scale * ds * key!.data[row(k) * D + e]!;
          sums.key[row(k) * D + e]! += scale * ds * query!.data[q * D + e]!;
        }
        if (!height) return;
        bias.height[q * kh + Math.floor(k / kw)]! += ds;
        bias.width[q * kw + (k % kw)]! += ds;
      });
    }
  }
  return { ...sums, ...bias };
}

async function check(shape: Case, op = attention): Promise<void> {
  const { G, Nq, D, grid, bias } = shape;
  const Nk = grid[0] * grid[1];
  const inputs: Values = {
    query: values([G, Nq, D], 1, 2),
    key: values([G, Nk, D], 2),
    value: values([G, Nk, D], 3),
    ...(bias && { height: values([G, Nq, grid[0]], 4), width: values([G, Nq, grid[1]], 5) }),
  };
  const dy = values([G, Nq, D], 6);
  const run = ({ query, key, value, height, width }: Record<string, tf.Tensor>) =>
    op({ query: query!, key: key!, value: value!, ...(bias && { bias: { height: height!, width: width! } }) });
  await expectOp(run, { inputs, dy, expected: oracle(shape, inputs, dy.data), tolerance });
}

const c = (G: number, Nq: number, D: number, grid: [number, number], bias: boolean): Case => ({ G, Nq, D, grid, bias });

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

test.each(cases)('attention and its gradients: %j', (shape) => check(shape));

// wider heads are right too, but lavapipe compiles each of their kernels for seconds
test.each(cases.filter(({ D }) => D <= 16))('on GPUs: %j', (shape) => asGpu(backend(), () => check(shape)));

test('the reference agrees with the oracle', () => check(c(2, 9, 8, [3, 5], true), attentionReference));

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
  const bias = { height: tensor(2, 3, 2), width: tensor(2, 3, 2) };
  expect(() => attention({ query, key: tensor(2, 6, 8), value: tensor(2, 6, 8), bias })).toThrow('expected 6 keys');
});
