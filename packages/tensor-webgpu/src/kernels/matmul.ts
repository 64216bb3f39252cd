import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';
import { type MatmulSpec, panelMatmul, tileMatmul } from './matmul.wgsl.ts';

/** How to multiply: which operand is stored transposed, and an optional bias [N] that is added to every row. */
export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly bias?: tf.TensorInfo;
}

/**
 * [..., M, K] x [..., K, N] -> [..., M, N], broadcasting the leading dimensions.
 *
 * @throws when the inner sizes differ
 */
export function matmul(
  backend: WebgpuBackend,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  options: MatmulOptions = {},
): tf.TensorInfo {
  const { transposeA = false, transposeB = false, bias } = options;
  const [M, K] = lastTwo(a.shape, transposeA);
  const [innerB, N] = lastTwo(b.shape, transposeB);
  if (K !== innerB) {
    throw new Error(
      `matmul: expected inner sizes to agree, got [${a.shape}]${transposeA ? '^T' : ''} x [${b.shape}]${transposeB ? '^T' : ''}`,
    );
  }
  const outerA = a.shape.slice(0, -2);
  const outerB = b.shape.slice(0, -2);
  const outer = tf.broadcast_util.assertAndGetBroadcastShape(outerA, outerB);
  const batch = tf.util.sizeFromShape(outer);
  const batchA = tf.util.sizeFromShape(outerA);
  const batchB = tf.util.sizeFromShape(outerB);
  if ((batchA !== 1 && batchA !== batch) || (batchB !== 1 && batchB !== batch)) {
    throw new Error(
      `matmul: expected equal leading dimensions or one of them to be 1, got [${a.shape}] and [${b.shape}]`,
    );
  }
  const shape = [...outer, M, N];
  if (batch * M * N === 0 || K === 0) return backend.makeTensor(new Float32Array(batch * M * N), shape, 'float32');
  // one weight matrix for a whole batch of rows is one larger matmul
  const fold = batchB === 1 && batchA === batch && !transposeA;
  const sizes = fold ? { M: batch * M, batch: 1 } : { M, batch };
  const spec: MatmulSpec = {
    ...sizes,
    N,
    K,
    transposeA,
    transposeB,
    broadcastA: batchA === 1,
    broadcastB: batchB === 1,
    bias: bias !== undefined,
  };
  const panels = backend.facts.isCpu && backend.facts.subgroupSize === 8;
  const program = panels ? panelMatmul(spec) : tileMatmul(spec);
  return backend.run(program, bias ? [a, b, bias] : [a, b], [{ shape, dtype: 'float32' }])[0]!;
}

function lastTwo(shape: readonly number[], transposed: boolean): [number, number] {
  const [rows, columns] = [shape.at(-2)!, shape.at(-1)!];
  return transposed ? [columns, rows] : [rows, columns];
}

export const matmulKernels: readonly Kernel[] = [
  {
    kernelName: tf.BatchMatMul,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { a, b } = inputs as unknown as Record<'a' | 'b', tf.TensorInfo>;
      const { transposeA, transposeB } = attrs as unknown as tf.BatchMatMulAttrs;
      return matmul(backend as WebgpuBackend, a, b, { transposeA, transposeB });
    },
  },
];
