import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { scatterTexts } from '../cpu/string-tensors.ts';
import { casting } from '../elementwise/elementwise.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';
import { pointer, pointerIntegers, pointerUniforms } from './gather.ts';

interface Updates {
  readonly indices: tf.TensorInfo;
  readonly updates: tf.TensorInfo;
  readonly shape: number[];
}

const scattering = memoised(({ depth, over }: { depth: number; over: boolean }) =>
  resultMap<string>({
    label: `Scatter ${depth}${over ? ' over' : ''}`,
    uniforms: {
      ...{ inner: 'i32', rows: 'i32', each: 'i32' },
      ...(over && { spread: 'i32' }),
      ...pointerUniforms(depth),
    },
    body: `let n = i % p.inner;
  let slice = i / p.inner;
  var value = ${over ? 'in2[i * p.spread]' : 'Out()'};
  for (var r = 0; r < p.rows; r++) {
    if (${pointer(1, depth)} == slice) { value ${over ? '=' : '+='} in0[r * p.each * p.inner + n * p.each]; }
  }
  out[i] = value;`,
  }),
);

/**
 * out[s, n] from the rows updates[r, n] with indices[r, :] = s: their sum, or the last of them over `base` (a scalar or a tensor of the
 * result's shape). Every result is made by one invocation: no atomics, always the same bits.
 */
function scatter(backend: WebgpuBackend, { indices, updates, shape }: Updates, base?: tf.TensorInfo): tf.TensorInfo {
  const info = tf.scatter_util.calculateShapes(updates as tf.Tensor, indices as tf.Tensor, shape);
  const depth = info.sliceRank;
  return scattering({ depth, over: base !== undefined })(backend, {
    inputs: base ? [updates, indices, base] : [updates, indices],
    shape,
    dtype: updates.dtype,
    uniforms: {
      inner: info.sliceSize,
      rows: info.numUpdates,
      each: updates.shape.length === 0 ? 0 : 1, // one update for all rows
      ...(base && { spread: base.shape.length === 0 ? 0 : 1 }),
      ...pointerIntegers(info.strides, depth),
    },
  });
}

const counting = memoised(({ how }: { how: 'weighted' | 'binary' | 'number' }) => {
  const step = { weighted: '+= in1[base + k]', binary: '= Out(1)', number: '+= Out(1)' }[how];
  return resultMap({
    label: `Bincount ${how}`,
    uniforms: { size: 'i32', N: 'i32' },
    body: `let base = (i / p.size) * p.N;
  let wanted = i % p.size;
  var total = Out();
  for (var k = 0; k < p.N; k++) { if (In0(wanted) == in0[base + k]) { total ${step}; } }
  out[i] = total;`,
  });
});

/** Counts how often each number below `size` is in each row of x [..., N], or adds up their weights; `binary` only tells whether it is there. */
function bincount(
  backend: WebgpuBackend,
  { x, weights }: Tensors<'x' | 'weights'>,
  { size, binary }: { size: number; binary: boolean },
): tf.TensorInfo {
  const values = backend.cpuValues(x);
  if (values?.some((value) => value < 0)) throw new Error('Input x must be non-negative!'); // TensorFlow.js's own words
  const weighted = !binary && tf.util.sizeFromShape(weights.shape) > 0;
  return counting({ how: weighted ? 'weighted' : binary ? 'binary' : 'number' })(backend, {
    inputs: weighted ? [x, weights] : [x],
    shape: [...x.shape.slice(0, -1), size],
    dtype: weights.dtype,
    uniforms: { size, N: x.shape.at(-1)! },
  });
}

export const scatterKernels: readonly Kernel[] = [
  kernel<Tensors<'indices' | 'updates'>, tf.ScatterNdAttrs>(tf.ScatterNd, (backend, inputs, { shape }) =>
    scatter(backend, { ...inputs, shape }),
  ),
  kernel<Tensors<'sparseIndices' | 'sparseValues' | 'defaultValue'>, tf.SparseToDenseAttrs>(
    tf.SparseToDense,
    (backend, { sparseIndices, sparseValues, defaultValue }, { outputShape: shape }) => {
      const update = { indices: sparseIndices, updates: sparseValues, shape };
      if (sparseValues.dtype === 'string') return scatterTexts(backend, update, defaultValue);
      return casting(backend, defaultValue, sparseValues.dtype, (base) => scatter(backend, update, base));
    },
  ),
  kernel<Tensors<'tensor' | 'indices' | 'updates'>>(tf.TensorScatterUpdate, (backend, { tensor, ...update }) =>
    scatter(backend, { ...update, shape: tensor.shape }, tensor),
  ),
  kernel<Tensors<'x' | 'weights'>, tf.BincountAttrs>(tf.Bincount, (backend, { x, weights }, { size }) => {
    const row = { ...x, shape: [tf.util.sizeFromShape(x.shape)] };
    return bincount(backend, { x: row, weights }, { size, binary: false });
  }),
  kernel<Tensors<'x' | 'weights'>, tf.DenseBincountAttrs>(
    tf.DenseBincount,
    (backend, inputs, { size, binaryOutput = false }) => bincount(backend, inputs, { size, binary: binaryOutput }),
  ),
];
