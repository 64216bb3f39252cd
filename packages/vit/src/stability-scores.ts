import * as tf from '@tensorflow/tfjs-core';

/**
 * How stable masks are: IoU of a mask at thresholds `offset` logits above and below `threshold` (segment-anything, utils/amg.py:
 * calculate_stability_score). Unlike there, a mask that is empty at both has a score of 0 rather than NaN.
 *
 * @param logits [n, H, W]
 * @returns n scores in [0, 1]
 */
export async function stabilityScores(
  logits: tf.Tensor3D,
  { threshold, offset }: { threshold: number; offset: number },
): Promise<number[]> {
  const areas = tf.tidy(() => {
    const above = (value: number) => tf.sum(tf.greater(logits, value), [1, 2]); // [n], int32
    return tf.stack([above(threshold + offset), above(threshold - offset)]);
  });
  try {
    const pixels = await areas.data();
    const n = logits.shape[0];
    // the one lies within the other, so that this is their IoU
    return Array.from({ length: n }, (_, i) => pixels[i]! / Math.max(1, pixels[n + i]!));
  } finally {
    areas.dispose();
  }
}
