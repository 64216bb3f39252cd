import * as tf from '@tensorflow/tfjs-core';
import { takesPanels } from '../src/device/open-device.ts';
import type { WebgpuBackend } from '../src/index.ts';
import { attention, half } from '../src/ops/index.ts';
import { expectOp, halfTolerance, inHalf, type Values, values } from './ops-testing.ts';

// float32 rounds at 6e-8, sums of up to 4096 terms with an exp of about 1e-6 in each: 1e-5 of the largest value
const tolerance = 1e-5;

export interface AttentionCase {
  readonly G: number;
  readonly Nq: number;
  readonly D: number;
  /** Rows and columns of keys; [Nk, 1] without bias. */
  readonly grid: readonly [number, number];
  readonly bias: boolean;
}

/** Some of the queries in order, [G, Nq, D] -> [G, queries.length, D], and which those are. */
interface Looked {
  readonly queries: readonly number[];
  readonly pick: (output: tf.Tensor3D) => tf.Tensor3D;
}

/** Attention of some queries and all gradients that come from them in float64, by the formulas with all scores; dy is [G, queries.length, D]. */
function oracle(
  { G, Nq, D, grid: [kh, kw] }: AttentionCase,
  { inputs, dy, queries }: { inputs: Values; dy: Float64Array; queries: readonly number[] },
): Record<string, Float64Array> {
  const Nk = kh * kw;
  const scale = 1 / Math.sqrt(D);
  const { query, key, value, height, width } = inputs;
  const zeros = (name: string) => new Float64Array(inputs[name]?.data.length ?? 0);
  const output = new Float64Array(dy.length);
  const sums = { query: zeros('query'), key: zeros('key'), value: zeros('value') };
  const bias = { height: zeros('height'), width: zeros('width') };
  for (let g = 0; g < G; g++) {
    queries.forEach((place, index) => {
      const q = g * Nq + place;
      const row = (k: number) => g * Nk + k;
      const out = (g * queries.length + index) * D;
      const score = Array.from({ length: Nk }, (_, k) => {
        let s = height ? height.data[q * kh + Math.floor(k / kw)]! + width!.data[q * kw + (k % kw)]! : 0;
        for (let e = 0; e < D; e++) s += scale * query!.data[q * D + e]! * key!.data[row(k) * D + e]!;
        return s;
      });
      const top = score.reduce((a, b) => Math.max(a, b));
      const weights = score.map((s) => Math.exp(s - top));
      const total = weights.reduce((a, b) => a + b);
      const dots = weights.map((w, k) => {
        let dot = 0;
        for (let e = 0; e < D; e++) {
          output[out + e]! += (w / total) * value!.data[row(k) * D + e]!;
          sums.value[row(k) * D + e]! += (w / total) * dy[out + e]!;
          dot += dy[out + e]! * value!.data[row(k) * D + e]!;
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
    });
  }
  return { output, ...sums, ...bias };
}

/**
 * Compares attention and all its gradients with float64, of all queries or those that are looked at; `inHalves`: with query, key and
 * value in half precision.
 */
export async function checkAttention(
  shape: AttentionCase,
  { op = attention, looked, inHalves = false }: { op?: typeof attention; looked?: Looked; inHalves?: boolean } = {},
): Promise<void> {
  const { G, Nq, D, grid, bias } = shape;
  const Nk = grid[0] * grid[1];
  const inputs: Values = {
    query: values([G, Nq, D], 1, 2),
    key: values([G, Nk, D], 2),
    value: values([G, Nk, D], 3),
    ...(bias && { height: values([G, Nq, grid[0]], 4), width: values([G, Nq, grid[1]], 5) }),
  };
  const halves = inHalves ? ['query', 'key', 'value'] : [];
  for (const name of halves) inputs[name] = inHalf(inputs[name]!);
  const queries = looked?.queries ?? Array.from({ length: Nq }, (_, q) => q);
  const dy = values([G, queries.length, D], 6);
  const run = (named: Record<string, tf.Tensor>) => {
    const rounded = Object.fromEntries(halves.map((name) => [name, half(named[name]!)]));
    const { query, key, value, height, width } = { ...named, ...rounded };
    const options = {
      query: query!,
      key: key!,
      value: value!,
      ...(bias && { bias: { height: height!, width: width! } }),
    };
    const output = op(options as Parameters<typeof op>[0]);
    return looked ? looked.pick(output) : output;
  };
  await expectOp((named) => tf.tidy(() => run(named)), {
    ...{ inputs, dy },
    expected: oracle(shape, { inputs, dy: dy.data, queries }),
    // the scores' gradients read dO . O of the rounded output: D roundings, up or down at random, of values that may be twice the gradients
    tolerance: inHalves ? 2 * Math.sqrt(D) * halfTolerance : tolerance,
    // on GPUs scores are sums of products in float16: each is off by some 2^-13 of itself, and so is what it weighs
    outputTolerance: inHalves
      ? (takesPanels((tf.backend() as WebgpuBackend).facts) ? 1 : 3) * halfTolerance
      : tolerance,
    // one key has all of the attention: its score's gradient is the difference of two equal sums of D products of about 1
    ...(Nk === 1 && { least: { query: 0.1, key: 0.1, height: 0.1, width: 0.1 } }),
  });
}
