import * as tf from '@tensorflow/tfjs-core';

/** How far features are from others. */
export interface FeatureDistance {
  /** Mean squared error. */
  readonly error: number;
  /** sum (x - y)² / sum y² */
  readonly share: number;
  /** Mean cosine over the places. */
  readonly cosine: number;
}

/** Compares features x with y of one shape. @param options.channels the axis of a place's channels */
export async function featureDistance(
  x: tf.Tensor,
  y: tf.Tensor,
  { channels }: { readonly channels: number },
): Promise<FeatureDistance> {
  const sums = tf.tidy(() => {
    const squares = (a: tf.Tensor) => tf.sum(tf.square(a), channels);
    const [xx, yy, xy] = [squares(x), squares(y), tf.sum(tf.mul(x, y), channels)];
    const cosines = tf.div(xy, tf.add(tf.sqrt(tf.mul(xx, yy)), 1e-12));
    const distance = tf.sum(tf.squaredDifference(x, y));
    return tf.stack([tf.div(distance, x.size), tf.div(distance, tf.sum(yy)), tf.mean(cosines)]);
  });
  const [error, share, cosine] = (await sums.data().finally(() => sums.dispose())) as Float32Array;
  return { error: error!, share: share!, cosine: cosine! };
}
