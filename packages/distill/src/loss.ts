import type * as tf from '@tensorflow/tfjs-core';

/** A loss and what it is made of, all scalars. */
export interface LossParts {
  readonly total: tf.Scalar;
  /** The terms before weighting, by name: for logs and plots. */
  readonly parts: Readonly<Record<string, tf.Scalar>>;
}

/** Where training is. */
export interface Position {
  /** From 0. */
  readonly epoch: number;
  /** Batches of this epoch that are done. */
  readonly batch: number;
  /** Optimizer steps that are done. */
  readonly step: number;
}
