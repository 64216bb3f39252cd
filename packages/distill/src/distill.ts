import type { Weights } from '@slimsam/weights';
import type * as tf from '@tensorflow/tfjs-core';
import type { LossParts, Position } from './loss.ts';
import type { Features } from './slimming-losses.ts';
import { type TrainingStep, type TrainOptions, train } from './train.ts';

/** Runs a model on images [B, 3, S, S]. */
export type Forward = (weights: Weights, images: tf.Tensor4D, taps: readonly string[]) => Features;

export interface Model {
  readonly forward: Forward;
  readonly weights: Weights;
}

export interface DistillOptions<Teacher extends string>
  extends Pick<
    TrainOptions<tf.Tensor4D, undefined>,
    'optimizer' | 'batches' | 'epochs' | 'accumulate' | 'learningRate' | 'resume' | 'signal' | 'trainable'
  > {
  readonly student: Model;
  readonly teachers: Readonly<Record<Teacher, Model>>;
  /** The intermediates that the loss compares at this position. */
  readonly taps: (position: Position) => readonly string[];
  readonly loss: (student: Features, teachers: Readonly<Record<Teacher, Features>>, position: Position) => LossParts;
}

/**
 * Trains a student on its teachers' features. Teachers run once a batch, outside of differentiation.
 *
 * @throws as `train` does
 */
export function distill<Teacher extends string>(
  options: DistillOptions<Teacher>,
): AsyncGenerator<TrainingStep, void, undefined> {
  const { student, teachers, taps, loss, ...rest } = options;
  type Prepared = Record<Teacher, { embedding: tf.Tensor; taps: Record<string, tf.Tensor> }>;
  return train<tf.Tensor4D, Prepared>({
    ...rest,
    weights: student.weights,
    prepare: (images, position) => {
      const features = Object.entries<Model>(teachers).map(([name, teacher]) => [
        name,
        teacher.forward(teacher.weights, images, taps(position)),
      ]);
      return Object.fromEntries(features) as Prepared;
    },
    loss: ({ weights, batch, prepared }, position) =>
      loss(student.forward(weights, batch, taps(position)), prepared, position),
  });
}
