import { formulaValues } from './formula.ts';

/** A block whose weights are formulas. */
export interface FormulaBlock {
  /** Of its weights, like 'image_encoder.blocks.0'. */
  name: string;
  heads: number;
  /** Side of a window, patches. */
  side: number;
  /** Side of the image, patches. */
  grid: number;
}

/**
 * One token's output of an encoder block in float64, by loops (segment-anything, modeling/image_encoder.py).
 *
 * @param x the block's input [grid, grid, C]
 * @param at [y, x] of the token
 */
export function blockOfToken(block: FormulaBlock, x: Float32Array, [row, column]: [number, number]): Float64Array {
  const { name, heads, side, grid } = block;
  const C = x.length / grid ** 2;
  const D = C / heads;
  const weight = (short: string, ...shape: number[]) => formulaValues(`${name}.${short}`, shape);
  const dense = (short: string, input: Float64Array, rows: readonly [number, number], outputs: number) =>
    rowsOf(weight(`${short}.weight`, outputs, input.length), weight(`${short}.bias`, outputs), { input, rows });
  const norm = (short: string, input: Float64Array) =>
    normalise(input, weight(`${short}.weight`, C), weight(`${short}.bias`, C));
  const tokenAt = (r: number, c: number) => Float64Array.from(x.subarray((r * grid + c) * C, (r * grid + c + 1) * C));

  // the window: zeros where it reaches over the image's edge, after the norm
  const [top, left] = [row - (row % side), column - (column % side)];
  const inputs = Array.from({ length: side ** 2 }, (_, i) => {
    const [r, c] = [top + Math.floor(i / side), left + (i % side)];
    return r < grid && c < grid ? norm('norm1', tokenAt(r, c)) : new Float64Array(C);
  });
  const own = (row - top) * side + (column - left);
  const qkv = weight('attn.qkv.weight', 3 * C, C);
  const qkvBias = weight('attn.qkv.bias', 3 * C);
  const query = rowsOf(qkv, qkvBias, { input: inputs[own]!, rows: [0, C] });
  const keysAndValues = inputs.map((input) => rowsOf(qkv, qkvBias, { input, rows: [C, 3 * C] }));
  const vertical = weight('attn.rel_pos_h', 2 * side - 1, D);
  const horizontal = weight('attn.rel_pos_w', 2 * side - 1, D);
  const attended = new Float64Array(C);
  for (let head = 0; head < heads; head++) {
    const q = query.subarray(head * D, (head + 1) * D);
    const scores = keysAndValues.map((kv, i) => {
      const v = row - top - Math.floor(i / side) + side - 1;
      const h = column - left - (i % side) + side - 1;
      const positions = dot(q, vertical.subarray(v * D)) + dot(q, horizontal.subarray(h * D));
      return dot(q, kv.subarray(head * D)) / Math.sqrt(D) + positions;
    });
    const highest = Math.max(...scores);
    const shares = scores.map((score) => Math.exp(score - highest));
    const total = shares.reduce((sum, share) => sum + share, 0);
    keysAndValues.forEach((kv, i) => {
      for (let d = 0; d < D; d++) attended[head * D + d]! += (shares[i]! / total) * kv[C + head * D + d]!;
    });
  }
  const afterAttention = add(tokenAt(row, column), dense('attn.proj', attended, [0, C], C));
  const hidden = dense('mlp.lin1', norm('norm2', afterAttention), [0, 4 * C], 4 * C).map(gelu);
  return add(afterAttention, dense('mlp.lin2', hidden, [0, C], C));
}

type Numbers = Float32Array | Float64Array;

/** The first values of `b` are used. */
function dot(a: Numbers, b: Numbers): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** Outputs [from, to) of a linear layer. */
function rowsOf(
  weight: Float32Array,
  bias: Float32Array,
  { input, rows: [from, to] }: { input: Float64Array; rows: readonly [number, number] },
): Float64Array {
  return Float64Array.from({ length: to - from }, (_, i) => {
    return bias[from + i]! + dot(input, weight.subarray((from + i) * input.length));
  });
}

function normalise(input: Float64Array, weight: Float32Array, bias: Float32Array): Float64Array {
  const mean = input.reduce((sum, value) => sum + value, 0) / input.length;
  const variance = input.reduce((sum, value) => sum + (value - mean) ** 2, 0) / input.length;
  return input.map((value, i) => ((value - mean) / Math.sqrt(variance + 1e-6)) * weight[i]! + bias[i]!);
}

function add(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + b[i]!);
}

function gelu(x: number): number {
  return (x * (1 + erf(x / Math.SQRT2))) / 2;
}

/** 2 / sqrt(pi) e^(-x^2) sum of 2^n x^(2n + 1) / (2n + 1)!!, whose terms have one sign. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
