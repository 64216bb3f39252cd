import * as tf from '@tensorflow/tfjs-core';

/** Pixels of a mask above a threshold that is moved up, and of it above one that is moved down. */
export interface StabilityAreas {
  readonly core: number;
  readonly whole: number;
}

/**
 * What stability scores are reckoned from, for each mask.
 *
 * @param logits [n, H, W]
 * @param options.offset how far the threshold moves, logits
 */
export async function stabilityAreas(
  logits: tf.Tensor3D,
  { threshold, offset }: { threshold: number; offset: number },
): Promise<StabilityAreas[]> {
  const areas = tf.tidy(() => {
    const above = (value: number) => tf.sum(tf.greater(logits, value), [1, 2]); // [n], int32
    return tf.stack([above(threshold + offset), above(threshold - offset)]);
  });
  try {
    const pixels = await areas.data();
    const n = logits.shape[0];
    return Array.from({ length: n }, (_, i) => ({ core: pixels[i]!, whole: pixels[n + i]! }));
  } finally {
    areas.dispose();
  }
}

/**
 * How stable a mask is: its IoU at the two thresholds, of which the one mask lies within the other (segment-anything, utils/amg.py:
 * calculate_stability_score). Unlike there, a mask that is empty at both has a score of 0 rather than NaN.
 */
export function stabilityScore({ core, whole }: StabilityAreas): number {
  return core / Math.max(1, whole);
}
