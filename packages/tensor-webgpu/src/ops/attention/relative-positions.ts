import * as tf from '@tensorflow/tfjs-core';
import { expectTensor, expectTensors, hasKernel, runFused } from '../fused.ts';

/** One axis of a square of s x s tokens. */
export interface RelativeAxis {
  /** s */
  readonly side: number;
  readonly axis: 'height' | 'width';
}

/** `relativePositions` composed of TensorFlow.js ops. @throws when the shapes disagree */
export function relativePositionsReference(query: tf.Tensor, table: tf.Tensor, where: RelativeAxis): tf.Tensor3D {
  expectTensors('relativePositions', { query, table });
  expectPlace(where);
  const { side: s, axis } = where;
  const [G, N, D] = checkRelative(query, table, where);
  return tf.tidy(() => {
    const rows = tf.reshape(tf.gather(table, placesOf(s)), [s, s, D]); // [p, k, D]
    const byPlace = tf.reshape(placeFirst(query, where), [s, G * s, D]);
    const products = tf.reshape(tf.matMul(byPlace, rows, false, true), [s, G, s, s]); // [p, G, other, k]
    const back = axis === 'height' ? [1, 0, 2, 3] : [1, 2, 0, 3];
    return tf.reshape(tf.transpose(products, back), [G, N, s]);
  });
}

/**
 * q . R of decomposed relative positions along one axis, a bias of `attention` (segment-anything, modeling/image_encoder.py:
 * add_decomposed_rel_pos): query [G, s * s, D], table [2 s - 1, D] -> [G, s * s, s],
 * out[g, (y, x), k] = query[g, (y, x)] . table[p - k + s - 1], where p is y (height) or x (width). The query is not scaled.
 *
 * @throws when the shapes disagree
 */
export function relativePositions(query: tf.Tensor, table: tf.Tensor, where: RelativeAxis): tf.Tensor3D {
  expectTensors('relativePositions', { query, table });
  expectPlace(where);
  const { side, axis } = where;
  const fits = query.size > 0 && query.shape[0]! * side < mostRows;
  if (!fits || !hasKernel('RelativePositions')) return relativePositionsReference(query, table, where);
  checkRelative(query, table, where);
  return runFused('RelativePositions', { query, table }, { side, axis })[0] as tf.Tensor3D;
}

const mostRows = 1 << 22; // the kernel divides rows as floats

tf.registerGradient({
  kernelName: 'RelativePositions',
  inputsToSave: ['query', 'table'],
  gradFunc: (dy, saved, attrs) => {
    const [query, table] = saved as [tf.Tensor, tf.Tensor];
    const where: RelativeAxis = { side: attrs.side as number, axis: attrs.axis as RelativeAxis['axis'] };
    const { side: s } = where;
    const [G, , D] = query.shape as [number, number, number];
    return {
      query: () => runFused('RelativePositionsGrad', { dy: dy as tf.Tensor, table }, { ...where })[0]!,
      table: () => {
        const byPlace = tf.reshape(placeFirst(query, where), [s, G * s, D]);
        const change = tf.reshape(placeFirst(dy as tf.Tensor, where), [s, G * s, s]);
        const rows = tf.matMul(change, byPlace, true, false); // [p, k, D]
        return tf.unsortedSegmentSum(tf.reshape(rows, [s * s, D]), placesOf(s), 2 * s - 1);
      },
    };
  },
});

/** Rows of the table by p and k: p - k + s - 1. */
const placesOf = (s: number): tf.Tensor1D =>
  tf.tensor1d(
    Int32Array.from({ length: s * s }, (_, i) => Math.floor(i / s) - (i % s) + s - 1),
    'int32',
  );

/** [G, (y, x), C] -> [p, G, other, C]. */
function placeFirst(x: tf.Tensor, { side: s, axis }: RelativeAxis): tf.Tensor {
  const [G, , C] = x.shape as [number, number, number];
  return tf.transpose(tf.reshape(x, [G, s, s, C]), axis === 'height' ? [1, 0, 2, 3] : [2, 0, 1, 3]);
}

/** For callers without TypeScript. @throws when no axis is given */
function expectPlace(where: RelativeAxis): void {
  if (where?.axis !== 'height' && where?.axis !== 'width')
    throw new Error(`relativePositions: expected { side, axis: 'height' or 'width' }, got ${where?.axis ?? 'none'}`);
}

/** G, N and D. */
function checkRelative(query: tf.Tensor, table: tf.Tensor, { side: s }: RelativeAxis): [number, number, number] {
  expectTensor(
    'relativePositions: expected query',
    query,
    [null, s * s, null],
    'G, N, D',
    `its tokens are ${s} x ${s}`,
  );
  const D = query.shape[2]!;
  expectTensor('relativePositions: expected table', table, [2 * s - 1, D], '2 side - 1, D', `the side is ${s}`);
  return query.shape as [number, number, number];
}
