import { attention } from '@slimsam/tensor-webgpu/ops';
import { reshape, transpose } from '../../../vit/src/onnx/layers.ts';
import { type Case, Errors, graphInputs, places, values, worstOf } from './case.ts';

/** Self-attention of G x N queries of width D with decomposed relative positions on a grid of side x side = N keys. */
export function relativeAttention(name: string, { G, side, D }: { G: number; side: number; D: number }): Case {
  const N = side * side;
  const scale = 1 / Math.sqrt(D);
  return {
    name,
    family: 'attention',
    flops: 4 * G * N * N * D,
    largest: G * N * N,
    make: () => ({
      inputs: [
        values([G, N, D], 1, 2),
        values([G, N, D], 2),
        values([G, N, D], 3),
        values([G, N, side], 4),
        values([G, N, side], 5),
      ],
      dy: values([G, N, D], 6),
    }),
    compute: (query, key, value, height, width) =>
      attention({ query: query!, key: key!, value: value!, scale, bias: { height: height!, width: width! } }),
    onnx(graph, inputs) {
      const [query, key, value, height, width] = graphInputs(graph, inputs) as [string, string, string, string, string];
      const products = graph.node('MatMul', 'products', [query, transpose(graph, 'key^T', key, [0, 2, 1])]);
      const scaled = graph.node('Mul', 'scaled', [products, graph.scalar(scale)]);
      const grid = reshape(graph, 'grid', scaled, [G, N, side, side]);
      const withHeight = graph.node('Add', 'with height', [grid, reshape(graph, 'rows', height, [G, N, side, 1])]);
      const withBoth = graph.node('Add', 'with both', [withHeight, reshape(graph, 'columns', width, [G, N, 1, side])]);
      const shares = graph.node('Softmax', 'shares', [reshape(graph, 'scores', withBoth, [G, N, N])], { axis: -1 });
      return graph.node('MatMul', 'out', [shares, value]);
    },
    jax: ({ numpy, nn }, query, key, value, height, width) => {
      const scores = numpy.matmul(query!, numpy.matrixTranspose(key!)).mul(scale).reshape([G, N, side, side]);
      const biased = scores.add(height!.reshape([G, N, side, 1])).add(width!.reshape([G, N, 1, side]));
      return numpy.matmul(nn.softmax(biased.reshape([G, N, N]), -1), value!);
    },
    error(pass, results, { inputs, dy }) {
      const data = inputs.map((input) => input.data) as [
        Float32Array,
        Float32Array,
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      return worstOf(attentionErrors({ N, side, D, scale, g: G - 1, data, dy: dy.data, pass, results }));
    },
  };
}

/** Errors of one attention's results: at some queries, and in the backward pass at some keys, for which all queries are needed. */
function attentionErrors(inputs: {
  readonly N: number;
  readonly side: number;
  readonly D: number;
  readonly scale: number;
  readonly g: number;
  readonly data: readonly [Float32Array, Float32Array, Float32Array, Float32Array, Float32Array];
  readonly dy: Float32Array;
  readonly pass: 'forward' | 'backward';
  readonly results: readonly Float32Array[];
}): Errors[] {
  const { N, side, D, scale, g, data, dy, pass, results } = inputs;
  const [Q, K, V, H, W] = data;
  const errors = results.map(() => new Errors());
  /** Dot product of row i of x with row j of y. */
  const dot = (x: Float32Array, i: number, y: Float32Array, j: number) => {
    let sum = 0;
    for (let e = 0; e < D; e++) sum += x[i * D + e]! * y[j * D + e]!;
    return sum;
  };
  const weights = new Float64Array(N);
  /** Fills `weights` with the softmax of query q; gives the output's product with its gradient. */
  const attend = (q: number): number => {
    let top = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < N; k++) {
      weights[k] = scale * dot(Q, q, K, g * N + k) + H[q * side + Math.floor(k / side)]! + W[q * side + (k % side)]!;
      top = Math.max(top, weights[k]!);
    }
    let total = 0;
    for (let k = 0; k < N; k++) {
      weights[k] = Math.exp(weights[k]! - top);
      total += weights[k]!;
    }
    let mean = 0;
    for (let k = 0; k < N; k++) {
      weights[k]! /= total;
      if (pass === 'backward') mean += weights[k]! * dot(dy, q, V, g * N + k);
    }
    return mean;
  };
  const row = () => new Float64Array(D);
  const compare = (index: number, expected: Float64Array, at: number) => {
    expected.forEach((value, e) => {
      errors[index]!.add(value, results[index]![at + e]!);
    });
  };
  for (const local of places(N, 4)) {
    const q = g * N + local;
    const mean = attend(q);
    const [output, dQuery, dHeight, dWidth] = [row(), row(), new Float64Array(side), new Float64Array(side)];
    for (let k = 0; k < N; k++) {
      const key = g * N + k;
      const ds = pass === 'backward' ? weights[k]! * (dot(dy, q, V, key) - mean) : 0;
      for (let e = 0; e < D; e++) {
        output[e]! += weights[k]! * V[key * D + e]!;
        dQuery[e]! += scale * ds * K[key * D + e]!;
      }
      dHeight[Math.floor(k / side)]! += ds;
      dWidth[k % side]! += ds;
    }
    if (pass === 'forward') compare(0, output, q * D);
    else {
      compare(0, dQuery, q * D);
      compare(3, dHeight, q * side);
      compare(4, dWidth, q * side);
    }
  }
  if (pass === 'forward') return errors;
  const keys = places(N, 2);
  const [dKeys, dValues] = [keys.map(row), keys.map(row)];
  for (let q = g * N; q < (g + 1) * N; q++) {
    const mean = attend(q);
    keys.forEach((k, i) => {
      const ds = weights[k]! * (dot(dy, q, V, g * N + k) - mean);
      for (let e = 0; e < D; e++) {
        dKeys[i]![e]! += scale * ds * Q[q * D + e]!;
        dValues[i]![e]! += weights[k]! * dy[q * D + e]!;
      }
    });
  }
  keys.forEach((k, i) => {
    compare(1, dKeys[i]!, (g * N + k) * D);
    compare(2, dValues[i]!, (g * N + k) * D);
  });
  return errors;
}

export const attentionCases: readonly Case[] = [
  relativeAttention('attention 300x196x64', { G: 300, side: 14, D: 64 }),
  relativeAttention('attention 12x1024x64', { G: 12, side: 32, D: 64 }),
  relativeAttention('attention 12x4096x64', { G: 12, side: 64, D: 64 }),
];
