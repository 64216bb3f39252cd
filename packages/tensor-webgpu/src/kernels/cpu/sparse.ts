import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';
import { rowMajor } from '../maps/strided-map.ts';
import { knownValues } from './value-kernels.ts';

const messages = tf.backend_util;

type Segments = Tensors<'data' | 'indices' | 'segmentIds'>;

/** How many segments there are. @throws when the ids or the indices are not what TensorFlow takes, in its words */
function checkSegments(ids: ArrayLike<number>, indices: ArrayLike<number>, rows: number): number {
  if (ids.length === 0) return 0;
  const segments = ids[ids.length - 1]! + 1;
  if (segments <= 0) throw new Error(messages.getSparseSegmentReductionNegativeSegmentIdsErrorMessage());
  for (let r = 0; r < ids.length; r++) {
    if (r > 0 && ids[r]! < ids[r - 1]!)
      throw new Error(messages.getSparseSegmentReductionNonIncreasingSegmentIdsErrorMessage());
    if (ids[r]! < 0 || ids[r]! >= segments)
      throw new Error(messages.getSparseSegmentReductionSegmentIdOutOfRangeErrorMessage(ids[r]!, segments));
    if (indices[r]! < 0 || indices[r]! >= rows)
      throw new Error(messages.getSparseSegmentReductionIndicesOutOfRangeErrorMessage(r, indices[r]!, rows));
  }
  return segments;
}

/** out[s, n] = the sum or mean of data[indices[r], n] over the r with segmentIds[r] = s. */
function segmentReduction(label: string, { mean }: { mean: boolean }): Kernel {
  const map = resultMap({
    label,
    uniforms: { inner: 'i32', rows: 'i32' },
    body: `let n = i % p.inner;
  let segment = i / p.inner;
  var total = Out();
  var count = 0;
  for (var r = 0; r < p.rows; r++) {
    if (in2[r] == segment) { total += in0[in1[r] * p.inner + n]; count++; }
  }
  out[i] = ${mean ? 'total / Out(max(count, 1))' : 'total'};`,
  });
  return kernel<Segments>(label, (backend, { data, indices, segmentIds }) => {
    const ids = knownValues(backend, segmentIds, label);
    const segments = checkSegments(ids, knownValues(backend, indices, label), data.shape[0]!);
    const slice = data.shape.slice(1);
    return map(backend, {
      inputs: [data, indices, segmentIds],
      shape: [segments, ...slice],
      dtype: data.dtype,
      uniforms: { inner: tf.util.sizeFromShape(slice), rows: ids.length },
    });
  });
}

/** The sizes of `target`, in which one -1 stands for what is left of `shape`. @throws in TensorFlow's words */
function wholeShape(shape: number[], target: readonly number[]): number[] {
  const size = tf.util.sizeFromShape(shape);
  let unknown = -1;
  target.forEach((extent, d) => {
    if (extent === -1 && unknown !== -1)
      throw new Error(messages.getSparseReshapeMultipleNegativeOneOutputDimErrorMessage(unknown, d));
    if (extent === -1) unknown = d;
    else if (extent < 0) throw new Error(messages.getSparseReshapeNegativeOutputDimErrorMessage(d, extent));
  });
  const made = target.map((extent) => (extent === -1 ? 1 : extent));
  if (unknown !== -1) {
    const known = tf.util.sizeFromShape(made);
    if (known <= 0) throw new Error(messages.getSparseReshapeEmptyTensorZeroOutputDimErrorMessage());
    if (size % known !== 0) throw new Error(messages.getSparseReshapeInputOutputMultipleErrorMessage(shape, made));
    made[unknown] = size / known;
  }
  if (tf.util.sizeFromShape(made) !== size)
    throw new Error(messages.getSparseReshapeInputOutputMismatchErrorMessage(shape, made));
  return made;
}

/** The indices [N, rank] of a sparse tensor after a reshape, and its new shape. */
function sparseReshape(
  backend: WebgpuBackend,
  { inputIndices, inputShape, newShape }: Tensors<'inputIndices' | 'inputShape' | 'newShape'>,
): tf.TensorInfo[] {
  const numbers = (x: tf.TensorInfo) => Array.from(knownValues(backend, x, 'sparseReshape'));
  const from = numbers(inputShape);
  const to = wholeShape(from, numbers(newShape));
  const [strides, newStrides] = [rowMajor(from), rowMajor(to)];
  const indices = numbers(inputIndices);
  const rows = inputIndices.shape[0]!;
  const moved = Array.from({ length: rows }, (_, r) => {
    let place = strides.reduce((sum, stride, d) => sum + indices[r * from.length + d]! * stride, 0);
    return newStrides.map((stride) => {
      const at = Math.trunc(place / stride);
      place -= at * stride;
      return at;
    });
  });
  return [
    backend.makeTensor(Int32Array.from(moved.flat()), [rows, to.length], inputIndices.dtype),
    backend.makeTensor(Int32Array.from(to), [to.length], newShape.dtype),
  ];
}

/** Gives every row of a sparse matrix an entry: [indices, values, which rows were empty, where the old entries went]. */
function fillEmptyRows(
  backend: WebgpuBackend,
  inputs: Tensors<'indices' | 'values' | 'denseShape' | 'defaultValue'>,
): tf.TensorInfo[] {
  const { indices, values, denseShape, defaultValue } = inputs;
  const numbers = (x: tf.TensorInfo) => Array.from(knownValues(backend, x, 'sparseFillEmptyRows'));
  const [count, rank] = indices.shape as [number, number];
  const places = numbers(indices);
  const rows = numbers(denseShape)[0]!;
  if (rows === 0 && count > 0) throw new Error(messages.getSparseFillEmptyRowsIndicesDenseShapeMismatch(count));
  const entries: number[][] = Array.from({ length: rows }, () => []); // the old entries of each row
  for (let k = 0; k < count; k++) {
    const row = places[k * rank]!;
    if (row < 0) throw new Error(messages.getSparseFillEmptyRowsNegativeIndexErrorMessage(k, row));
    if (row >= rows) throw new Error(messages.getSparseFillEmptyRowsOutOfRangeIndexErrorMessage(k, row, rows));
    entries[row]!.push(k);
  }
  const known = numbers(values);
  const filler = numbers(defaultValue)[0]!;
  const newIndices: number[] = [];
  const newValues: number[] = [];
  const moved = new Int32Array(count);
  entries.forEach((old, row) => {
    if (old.length === 0) {
      newIndices.push(row, ...Array<number>(rank - 1).fill(0));
      newValues.push(filler);
    }
    for (const k of old) {
      moved[k] = newValues.length;
      newIndices.push(...places.slice(k * rank, (k + 1) * rank));
      newValues.push(known[k]!);
    }
  });
  const typed = values.dtype === 'float32' ? Float32Array.from(newValues) : Int32Array.from(newValues);
  const empty = Uint8Array.from(entries, (old) => Number(old.length === 0));
  return [
    backend.makeTensor(Int32Array.from(newIndices), [newValues.length, rank], indices.dtype),
    backend.makeTensor(typed, [newValues.length], values.dtype),
    backend.makeTensor(empty, [rows], 'bool'),
    backend.makeTensor(moved, [count], indices.dtype),
  ];
}

export const sparseKernels: readonly Kernel[] = [
  segmentReduction(tf.SparseSegmentSum, { mean: false }),
  segmentReduction(tf.SparseSegmentMean, { mean: true }),
  kernel(tf.SparseReshape, sparseReshape),
  kernel(tf.SparseFillEmptyRows, fillEmptyRows),
];
