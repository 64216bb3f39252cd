import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { casting } from './elementwise.ts';
import { pointer, strideNames } from './gather.ts';
import type { Kernel } from './index.ts';
import { kernelsOn } from './kernel.ts';
import { resultMap } from './result-map.ts';
import { scatterTexts } from './text.ts';

interface Updates {
  readonly indices: tf.TensorInfo;
  readonly updates: tf.TensorInfo;
  readonly shape: number[];
}

/**
 * out[s, n] from the rows updates[r, n] with indices[r, :] = s: their sum, or the last of them over `base` (a scalar or a tensor of the
 * result's shape). Every result is made by one invocation: no atomics, always the same bits.
 */
function scatter(backend: WebgpuBackend, { indices, updates, shape }: Updates, base?: tf.TensorInfo): tf.TensorInfo {
  const info = tf.scatter_util.calculateShapes(updates as tf.Tensor, indices as tf.Tensor, shape);
  const depth = info.sliceRank;
  const read = 'in0[r * p.each * p.inner + n * p.each]';
  return resultMap(backend, {
    label: `Scatter ${depth}${base ? ' over' : ''}`,
    inputs: base ? [updates, indices, base] : [updates, indices],
    output: { shape, dtype: updates.dtype },
    integers: {
      inner: info.sliceSize,
      rows: info.numUpdates,
      each: updates.shape.length === 0 ? 0 : 1, // one update for all rows
      ...(base && { spread: base.shape.length === 0 ? 0 : 1 }),
      ...strideNames(info.strides, depth),
    },
    body: `let n = i % p.inner; let slice = i / p.inner;
  var value = ${base ? 'in2[i * p.spread]' : 'Out()'};
  for (var r = 0; r < p.rows; r++) { if (${pointer(1, depth)} == slice) { value ${base ? '=' : '+='} ${read}; } }
  out[i] = value;`,
  });
}

/** Counts how often each number below `size` is in each row of x [..., N], or adds up their weights; `binary` only tells whether it is there. */
function bincount(
  backend: WebgpuBackend,
  { x, weights }: { x: tf.TensorInfo; weights: tf.TensorInfo },
  { size, binary }: { size: number; binary: boolean },
): tf.TensorInfo {
  const values = backend.cpuValues(x);
  if (values?.some((value) => value < 0)) throw new Error('Input x must be non-negative!'); // TensorFlow.js's own words
  const weighted = !binary && tf.util.sizeFromShape(weights.shape) > 0;
  const N = x.shape.at(-1)!;
  return resultMap(backend, {
    label: `Bincount ${weighted ? 'weighted' : binary ? 'binary' : ''}`,
    inputs: weighted ? [x, weights] : [x],
    output: { shape: [...x.shape.slice(0, -1), size], dtype: weights.dtype },
    integers: { size, N },
    body: `let base = (i / p.size) * p.N; let wanted = i % p.size;
  var total = Out();
  for (var k = 0; k < p.N; k++) { if (In0(wanted) == in0[base + k]) { total ${binary ? '= Out(1)' : `+= ${weighted ? 'in1[base + k]' : 'Out(1)'}`}; } }
  out[i] = total;`,
  });
}

type Named = Record<string, tf.TensorInfo>;

const kernel = kernelsOn<Named>();

export const scatterKernels: readonly Kernel[] = [
  kernel<tf.ScatterNdAttrs>(tf.ScatterNd, (backend, { indices, updates }, { shape }) =>
    scatter(backend, { indices: indices!, updates: updates!, shape }),
  ),
  kernel<tf.SparseToDenseAttrs>(tf.SparseToDense, (backend, inputs, { outputShape: shape }) => {
    const { sparseIndices, sparseValues, defaultValue } = inputs;
    const update = { indices: sparseIndices!, updates: sparseValues!, shape };
    if (sparseValues!.dtype === 'string') return scatterTexts(backend, update, defaultValue!);
    return casting(backend, defaultValue!, sparseValues!.dtype, (base) => scatter(backend, update, base));
  }),
  kernel(tf.TensorScatterUpdate, (backend, { tensor, indices, updates }) =>
    scatter(backend, { indices: indices!, updates: updates!, shape: tensor!.shape }, tensor!),
  ),
  kernel<tf.BincountAttrs>(tf.Bincount, (backend, { x, weights }, { size }) =>
    bincount(
      backend,
      { x: { ...x!, shape: [tf.util.sizeFromShape(x!.shape)] }, weights: weights! },
      { size, binary: false },
    ),
  ),
  kernel<tf.DenseBincountAttrs>(tf.DenseBincount, (backend, { x, weights }, { size, binaryOutput }) =>
    bincount(backend, { x: x!, weights: weights! }, { size, binary: binaryOutput ?? false }),
  ),
];
