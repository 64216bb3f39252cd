import * as tf from '@tensorflow/tfjs-core';

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
  const matrix = (axis: 0 | 1) => tf.tensor2d(bicubicMatrix(from[axis], to[axis], antialias), [to[axis], from[axis]]);
  const rows = tf.reshape(tf.slice(positions, [0, first, 0]), [from[0], from[1] * C]);
  const tall = tf.reshape(tf.matMul(matrix(0), rows), [to[0], from[1], C]);
  const columns = tf.reshape(tf.transpose(tall, [1, 0, 2]), [from[1], to[0] * C]);
  const wide = tf.reshape(tf.matMul(matrix(1), columns), [to[1], to[0], C]);
  const resized = tf.reshape(tf.transpose(wide, [1, 0, 2]), [1, to[0] * to[1], C]);
  return tf.concat([tf.slice(positions, [0, 0, 0], [1, first, C]), resized], 1) as tf.Tensor3D;
}

/** The weights [to, from] that resize a line of samples. */
function bicubicMatrix(from: number, to: number, antialias: boolean): Float32Array {
  const scale = from / to;
  const stretch = antialias ? Math.max(1, scale) : 1;
  const matrix = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale - 0.5;
    const start = Math.ceil(centre - 2 * stretch);
    const weights = new Float64Array(from);
    for (let j = start; j <= Math.floor(centre + 2 * stretch); j++) {
      if (antialias && (j < 0 || j >= from)) continue; // the rest is normalised to 1
      weights[Math.min(from - 1, Math.max(0, j))]! += keys((j - centre) / stretch, antialias ? -0.5 : -0.75);
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let j = 0; j < from; j++) matrix[i * from + j] = weights[j]! / total;
  }
  return matrix;
}

/** Keys' cubic convolution kernel (1981, eq. 15 with a free a). */
function keys(distance: number, a: number): number {
  const x = Math.abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}
