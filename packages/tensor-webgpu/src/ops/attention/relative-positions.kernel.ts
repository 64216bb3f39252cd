import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { type Kernel, kernel, type Tensors } from '../../kernels/kernel.ts';
import type { Spread } from '../../kernels/matmul/matmul.wgsl.ts';
import { programFor } from '../../kernels/matmul/matmul-choice.ts';
import type { RelativeAxis } from './relative-positions.ts';

/**
 * One matmul for each place p of the axis, of all queries at p (in every attention and at every other place) with the table's rows from
 * p + s - 1 down to p. Operands are read and written where they lie; the gradient goes the other way, from the scores to the queries.
 */
function multiply(
  backend: WebgpuBackend,
  [a, table]: readonly [tf.TensorInfo, tf.TensorInfo],
  { side: s, axis, toQuery }: RelativeAxis & { readonly toQuery: boolean },
): tf.TensorInfo {
  const [G, N] = a.shape as [number, number, number];
  const D = table.shape[1]!;
  /** Of rows of `width` values: rows (g, other place), and the places p. */
  const spread = (width: number) => {
    const [alongHeight, alongWidth] = [s * width, width];
    const [batch, step] = axis === 'height' ? [alongHeight, alongWidth] : [alongWidth, alongHeight];
    return { outer: N * width, step, batch };
  };
  const [from, to] = toQuery ? [spread(s), spread(D)] : [spread(D), spread(s)];
  const where: Spread = {
    inner: s,
    outerA: from.outer,
    stepA: from.step,
    batchA: from.batch,
    outerC: to.outer,
    stepC: to.step,
    batchC: to.batch,
    offsetB: (s - 1) * D,
    stepB: -D,
    batchB: D,
  };
  const width = toQuery ? D : s;
  const program = programFor(backend, {
    M: G * s,
    N: width,
    K: toQuery ? s : D,
    batch: s,
    transposeA: false,
    transposeB: !toQuery,
    broadcastA: false,
    broadcastB: false,
    bias: false,
    activation: undefined,
    residual: false,
    spread: where,
    parts: 1,
    halfA: backend.isHalf(a),
    halfB: backend.isHalf(table),
    halfC: false,
  });
  return backend.run(program, [a, table], [{ shape: [G, N, width], dtype: 'float32' }])[0]!;
}

export const relativePositionsKernels: readonly Kernel[] = [
  kernel<Tensors<'query' | 'table'>, RelativeAxis>('RelativePositions', (backend, { query, table }, where) =>
    multiply(backend, [query, table], { ...where, toQuery: false }),
  ),
  kernel<Tensors<'dy' | 'table'>, RelativeAxis>('RelativePositionsGrad', (backend, { dy, table }, where) =>
    multiply(backend, [dy, table], { ...where, toQuery: true }),
  ),
];
