import * as tf from '@tensorflow/tfjs-core';
import type { AccumulationMode } from './gradients.ts';

/** One weight, with its gradients where the criterion needs them. */
export interface ScoredWeight {
  readonly weight: tf.Tensor;
  /** Of the weight's shape: the sums of `accumulateGradients`, their mode and the number of photographs. */
  readonly gradient?: { readonly sum: tf.Tensor; readonly mode: AccumulationMode; readonly count: number };
}

/** Scores by what each element of a weight counts: a channel's score in a weight is the sum over its elements. */
export interface ElementCriterion {
  readonly needsGradients: boolean;
  /** Of the weight's shape. Runs in a tidy. */
  readonly elements: (scored: ScoredWeight) => tf.Tensor;
}

/** Scores channels without looking at weights. */
export interface ChannelCriterion {
  readonly needsGradients: false;
  /** @param random seeded uniform numbers in [0, 1) */
  readonly channels: (count: number, random: () => number) => ArrayLike<number>;
}

export type Criterion = ElementCriterion | ChannelCriterion;

export type CriterionName = 'taylor' | 'hessian' | 'magnitude' | 'magnitude-l1' | 'random';

/**
 * How channels are scored. A further criterion is a further object given to `importance`.
 * - taylor: what removing an element changes in the loss, first order. Gradients of mode 'squared' give sum (w g)², 'absolute' sum |w g|,
 *   'signed' |w sum g|, the sums over photographs. With `disturbedLoss` it is SlimSAM's disturbed Taylor (eq. 4): noise belongs to the loss.
 * - hessian: optimal brain damage, h w² / 2, with h the mean of g² over photographs; mode 'squared'. With `disturbedLoss`, g² is on average
 *   over the noise 2 sigma² / elements times the Hessian's diagonal of MSE(f(x), f(x)'s own values): g = -2 Jᵀn / elements probes it as
 *   Hutchinson's estimator does, and the residual is 0, so that the Hessian is its Gauss-Newton part 2 JᵀJ / elements, the one optimal brain
 *   damage propagates back (LeCun 1989, eq. 7 to 9, without f''). One backward pass a photograph. With a labelled loss h is the empirical
 *   Fisher diagonal, as in the library of the paper's code. Ranks are then those of 'taylor' squared: the two differ by 2 * photographs.
 * - magnitude: w². magnitude-l1: |w|.
 * - random: uniform in [0, 1), for each channel.
 */
export const criteria: Readonly<Record<CriterionName, Criterion>> = {
  taylor: {
    needsGradients: true,
    elements: ({ weight, gradient }) => {
      const { sum, mode } = gradient!;
      return mode === 'squared' ? tf.mul(tf.square(weight), sum) : tf.abs(tf.mul(weight, sum));
    },
  },
  hessian: {
    needsGradients: true,
    elements: ({ weight, gradient }) => {
      const { sum, mode, count } = gradient!;
      if (mode !== 'squared')
        throw new Error(`hessian: expected gradients accumulated with mode 'squared', got '${mode}'`);
      return tf.mul(tf.mul(tf.square(weight), 1 / (2 * count)), sum);
    },
  },
  magnitude: { needsGradients: false, elements: ({ weight }) => tf.square(weight) },
  'magnitude-l1': { needsGradients: false, elements: ({ weight }) => tf.abs(weight) },
  random: { needsGradients: false, channels: (count, random) => Array.from({ length: count }, random) },
};
