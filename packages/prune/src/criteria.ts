import * as tf from '@tensorflow/tfjs-core';

/** One weight of a group, laid out as [before, channels, after] around the pruned dimension. */
export interface ScoredMember {
  weight: tf.Tensor3D;
  /** Same shape; absent when the caller gave no gradients. */
  gradient?: tf.Tensor3D;
  /** Seeded uniform numbers in [0, 1). */
  random: () => number;
}

export interface Criterion {
  needsGradients: boolean;
  /** The scores [channels] that one weight gives, >= 0. Runs in a tidy. */
  score: (member: ScoredMember) => tf.Tensor;
}

const taylor: Criterion = {
  needsGradients: true,
  score: ({ weight, gradient }) => tf.sum(tf.abs(tf.mul(weight, gradient!)), [0, 2]),
};

/**
 * How a weight scores the channels of a dimension. A further criterion is a further object given to `importance`.
 * - magnitude: sum of w².
 * - taylor: sum of |w dL/dw| for a loss on labels or on a teacher.
 * - disturbed-taylor: the same for the loss against the disturbed output, `disturbedLoss` (SlimSAM eq. 4): noise belongs to the loss.
 * - random: uniform in [0, 1).
 */
export const criteria: Readonly<Record<'magnitude' | 'taylor' | 'disturbed-taylor' | 'random', Criterion>> = {
  magnitude: { needsGradients: false, score: ({ weight }) => tf.sum(tf.square(weight), [0, 2]) },
  taylor,
  'disturbed-taylor': taylor,
  random: {
    needsGradients: false,
    score: ({ weight, random }) => tf.tensor1d(Array.from({ length: weight.shape[1] }, random)),
  },
};
