import * as tf from '@tensorflow/tfjs-core';
import { type Case, Errors, graphInputs, places, values, worstOf } from './case.ts';

/** [batch, M, K] x [batch, K, N], without the batch dimension when it is 1. */
export function matmul(name: string, [batch, M, K, N]: readonly [number, number, number, number]): Case {
  const lead = batch === 1 ? [] : [batch];
  const [shapeA, shapeB, shapeC] = [
    [...lead, M, K],
    [...lead, K, N],
    [...lead, M, N],
  ];
  return {
    name,
    family: 'matmul',
    flops: 2 * batch * M * K * N,
    largest: batch * Math.max(M * K, K * N, M * N),
    make: () => ({ inputs: [values(shapeA, 1), values(shapeB, 2)], dy: values(shapeC, 3) }),
    compute: (a, b) => tf.matMul(a!, b!),
    onnx: (graph, inputs) => graph.node('MatMul', 'c', graphInputs(graph, inputs)),
    jax: (jax, a, b) => jax.numpy.matmul(a!, b!),
    error(pass, results, { inputs, dy }) {
      const [A, B] = inputs.map(({ data }) => data) as [Float32Array, Float32Array];
      const errors = results.map(() => new Errors());
      for (const place of places(batch * M * N * K, 60)) {
        const [z, i, j, k] = [place % batch, place % M, place % N, place % K];
        const at = (rows: number, columns: number) => (row: number, column: number) =>
          (z * rows + row) * columns + column;
        const [a, b, c] = [at(M, K), at(K, N), at(M, N)];
        const sum = (length: number, term: (n: number) => number) => {
          let total = 0;
          for (let n = 0; n < length; n++) total += term(n);
          return total;
        };
        if (pass === 'forward') {
          errors[0]!.add(
            sum(K, (n) => A[a(i, n)]! * B[b(n, j)]!),
            results[0]![c(i, j)]!,
          );
          continue;
        }
        errors[0]!.add(
          sum(N, (n) => dy.data[c(i, n)]! * B[b(k, n)]!),
          results[0]![a(i, k)]!,
        );
        errors[1]!.add(
          sum(M, (n) => dy.data[c(n, j)]! * A[a(n, k)]!),
          results[1]![b(k, j)]!,
        );
      }
      return worstOf(errors);
    },
  };
}

export const matmulCases: readonly Case[] = [
  matmul('matmul 512x512x512', [1, 512, 512, 512]),
  matmul('matmul 1024x1024x1024', [1, 1024, 1024, 1024]),
  matmul('matmul 4096x768x768', [1, 4096, 768, 768]),
  matmul('matmul 4096x768x3072', [1, 4096, 768, 3072]),
  matmul('matmul 300x196x64x196', [300, 196, 64, 196]),
  matmul('matmul 12x1024x64x1024', [12, 1024, 64, 1024]),
];
