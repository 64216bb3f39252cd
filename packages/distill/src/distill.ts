import { checkFields, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { LossParts, Position } from './loss.ts';
import { distance, type Features } from './slimming-losses.ts';
import { type TrainingStep, type TrainOptions, train } from './train.ts';

/** Runs a model on images [B, 3, S, S]; `keep` is given where something else is kept of a tap, as `encodeImage` takes it. */
export type Forward = (
  weights: Weights,
  images: tf.Tensor4D,
  taps: readonly string[],
  keep?: (name: string, tap: tf.Tensor) => tf.Tensor,
) => Features;

export interface Model {
  readonly forward: Forward;
  readonly weights: Weights;
}

/** A teacher whose features come from elsewhere, such as a cache on disk. */
export interface FeatureSource<Batch> {
  /** The features of a batch with the taps that are wanted; the loop disposes them, and only them. */
  features(batch: Batch, taps: readonly string[]): Features | Promise<Features>;
}

/** Images [B, 3, S, S] alone, or beside what a `FeatureSource` wants to know, such as their names. */
export type Images = tf.Tensor4D | ({ readonly images: tf.Tensor4D } & tf.TensorContainerObject);

/** What the loss of a step looks at. */
export interface UsedFeatures<Teacher extends string> {
  /** The student's taps. */
  readonly student: readonly string[];
  /** The taps of each teacher, [] for its embedding alone. A teacher that is left out does not run. */
  readonly teachers: Readonly<Partial<Record<Teacher, readonly string[]>>>;
  /**
   * The teacher with which all of the student's taps are compared as they arise: of each only the squared distance is kept, which the
   * losses take as `distances`. A student that recomputes its blocks then holds no taps. Its forward must honour `keep`.
   */
  readonly compared?: Teacher | undefined;
}

export interface DistillOptions<Teacher extends string, Batch extends Images = tf.Tensor4D>
  extends Pick<
    TrainOptions<Batch, undefined>,
    'optimizer' | 'batches' | 'epochs' | 'accumulate' | 'learningRate' | 'resume' | 'signal' | 'trainable'
  > {
  readonly student: Model;
  readonly teachers: Readonly<Record<Teacher, Model | FeatureSource<Batch>>>;
  /** The intermediates that the loss compares at this position: of all models alike, or by model. */
  readonly taps: (position: Position) => readonly string[] | UsedFeatures<Teacher>;
  readonly loss: (student: Features, teachers: Readonly<Record<Teacher, Features>>, position: Position) => LossParts;
}

/**
 * Trains a student on its teachers' features. Teachers run once a batch, outside of differentiation, and only those that the step's
 * `taps` name. Accumulated batches count by their images, so that the step is that of one large batch.
 *
 * @throws as `train` does, or when the loss looks at a teacher that did not run
 */
export function distill<Teacher extends string, Batch extends Images = tf.Tensor4D>(
  options: DistillOptions<Teacher, Batch>,
): AsyncGenerator<TrainingStep, void, undefined> {
  checkFields('distill', options, { student: 'object', teachers: 'object', taps: 'function', loss: 'function' });
  const { student, teachers, taps, loss, ...rest } = options;
  const names = Object.keys(teachers) as Teacher[];
  const usedAt = (position: Position): UsedFeatures<Teacher> => {
    const used = taps(position);
    if ('teachers' in used) return used;
    const alike = names.map((name) => [name, used]);
    return { student: used, teachers: Object.fromEntries(alike) as Record<Teacher, readonly string[]> };
  };
  return train<Batch, Prepared>({
    ...rest,
    weights: student.weights,
    sizeOf: (batch) => imagesOf(batch).shape[0],
    prepare: async (batch, position) => {
      const { teachers: used } = usedAt(position);
      const prepared: Prepared = {};
      try {
        for (const name of names)
          if (used[name]) prepared[name] = toDispose(await featuresOf(teachers[name], batch, used[name]));
        return prepared;
      } catch (error) {
        tf.dispose(prepared);
        throw error;
      }
    },
    loss: ({ weights, batch, prepared }, position) => {
      const given = names.map((name) => [name, prepared[name] ?? notRun(name, position)]);
      const features = Object.fromEntries(given) as Record<Teacher, Features>;
      const { student: taps, compared } = usedAt(position);
      if (!compared) return loss(student.forward(weights, imagesOf(batch), taps), features, position);
      const keep = (name: string, tap: tf.Tensor) => distance(name, tap, features[compared]);
      const { embedding, taps: distances } = student.forward(weights, imagesOf(batch), taps, keep);
      return loss({ embedding, taps: {}, distances }, features, position);
    },
  });
}

type Prepared = Record<string, { embedding: tf.Tensor; taps: Record<string, tf.Tensor> }>;

/** The images of a batch. */
function imagesOf(batch: Images): tf.Tensor4D {
  return 'images' in batch ? batch.images : batch;
}

function featuresOf<Batch extends Images>(
  teacher: Model | FeatureSource<Batch>,
  batch: Batch,
  taps: readonly string[],
): Features | Promise<Features> {
  if ('features' in teacher) return teacher.features(batch, taps);
  return tf.tidy(() => toDispose(teacher.forward(teacher.weights, imagesOf(batch), taps)));
}

/** In the type of what can be disposed. */
const toDispose = ({ embedding, taps }: Features) => ({ embedding, taps: { ...taps } });

/** Stands for the features of a teacher that the step's taps left out. */
function notRun(name: string, { epoch }: Position): Features {
  const fail = (): never => {
    throw new Error(
      `distill: expected the loss not to look at teacher '${name}' in epoch ${epoch}, whose taps are left out, got it; give [] for its embedding alone`,
    );
  };
  return {
    get embedding() {
      return fail();
    },
    get taps() {
      return fail();
    },
  };
}
