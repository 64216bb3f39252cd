import * as tf from '@tensorflow/tfjs-core';
import { cubic, resamplingTaps, sharpCubic, type Taps } from '../images/interpolation.ts';

/** Rows and columns of patches. */
export type Grid = readonly [height: number, width: number];

/**
 * Position embeddings [1, P + h * w, C] for another grid of patches; the first P (a class token's) stay as they are.
 *
 * Bicubic with pixel centres at one half (`align_corners=False`), Keys' a = -0.75 and repeated edges, as transformers' ViT, DINOv2 and
 * CLIP do; with `antialias` PyTorch's antialiased filter (a = -0.5, widened when shrinking), as timm and transformers' DINOv2 with
 * registers do. Meta's own DINOv2 adds 0.1 to the size, which moves the samples a little.
 */
export function resizePositions(
  positions: tf.Tensor3D,
  { from, to, antialias }: { from: Grid; to: Grid; antialias: boolean },
): tf.Tensor3D {
  const [, length, C] = positions.shape;
  const first = length - from[0] * from[1];
  if (from[0] === to[0] && from[1] === to[1]) return positions;
  const how = antialias ? { filter: cubic, antialias } : { filter: sharpCubic, antialias, repeatEdges: true };
  const matrix = (axis: 0 | 1) => resamplingMatrix(resamplingTaps({ from: from[axis], to: to[axis] }, how), from[axis]); // [to, from]
  const rows = tf.reshape(tf.slice(positions, [0, first, 0]), [from[0], from[1] * C]);
  const tall = tf.reshape(tf.matMul(matrix(0), rows), [to[0], from[1], C]);
  const columns = tf.reshape(tf.transpose(tall, [1, 0, 2]), [from[1], to[0] * C]);
  const wide = tf.reshape(tf.matMul(matrix(1), columns), [to[1], to[0], C]);
  const resized = tf.reshape(tf.transpose(wide, [1, 0, 2]), [1, to[0] * to[1], C]);
  return tf.concat([tf.slice(positions, [0, 0, 0], [1, first, C]), resized], 1) as tf.Tensor3D;
}

/** Taps as the rows of a matrix: [outputs, inputs]. */
export function resamplingMatrix(taps: readonly Taps[], inputs: number): tf.Tensor2D {
  const values = new Float32Array(taps.length * inputs);
  for (const [row, { start, weights }] of taps.entries()) values.set(weights, row * inputs + start);
  return tf.tensor2d(values, [taps.length, inputs]);
}
