import type { AccumulationMode, Criterion, CriterionName, Normalise } from '@slimsam/prune';
import type * as tf from '@tensorflow/tfjs-core';
import type { Multiples } from '../models/rounding.ts';

/**
 * A loss of the output [1, …] of a photograph, from which channels are scored: `seed` is its own, `name` tells labels where there are any.
 */
export type ScoringLoss = (
  output: tf.Tensor,
  photograph: { readonly seed: number; readonly name: string },
) => tf.Scalar;

/** How a pruning step scores, ranks and rounds. */
export interface Scoring {
  /** A name, or the user's own; disturbed Taylor unless given. 'leading' keeps the first channels of each dimension: after a `RotateStep`. */
  readonly criterion?: CriterionName | Criterion | 'leading';
  /** What the gradients are of: `disturbedLoss` of the output (SlimSAM eq. 4) unless given. */
  readonly loss?: ScoringLoss;
  /** How the gradients of single photographs are added up; 'squared' unless given. 'signed' is the paper's code. */
  readonly accumulate?: AccumulationMode;
  /** Standard deviation of the noise; it cancels out of every normalised score. 0.01 unless given. */
  readonly sigma?: number;
  /** Photographs that score, a seeded sample of those that train; 1000 unless given. */
  readonly sample?: number;
  /**
   * 'local': the ratio in each dimension. 'global': one ranking of all heads, and one of all MLPs. 'sensitivity': heads and MLPs lose so much
   * that each bears the same error of the output. By structure unless given.
   */
  readonly ranking?: 'local' | 'global' | 'sensitivity';
  readonly normalise?: Normalise;
  readonly multiples?: Multiples;
}
