import { existsSync } from 'node:fs';
import {
  adam,
  bottleneckAligning,
  bottleneckAlpha,
  type DistillOptions,
  distill,
  embeddingAligning,
  embeddingAlpha,
  keepBest,
  loadTraining,
  type Model,
  plateau,
  saveTraining,
  shuffledBatches,
} from '@slimsam/distill';
import { bottleneckTaps, embeddingTaps, encodeImage } from '@slimsam/vit';
import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { oneByOne, type Recipe, stacked } from './recipe.ts';

/** Where a stage is kept after each epoch, and who hears of its steps. */
export interface Training {
  /** A file; when it is there and of an equal run, training goes on from it. */
  readonly checkpoint: string;
  readonly fingerprint: string;
  readonly onStep: (step: number, loss: number) => void;
}

const batchSize = 4;

/** Optimizer steps of one stage. */
export function stepsOf({ images, epochs }: Recipe): number {
  return epochs * Math.ceil(split(images).seen.length / batchSize);
}

/** Stage 1: the student's residual stream is narrow; what its heads and MLPs compute is aligned with the teacher's. */
export async function alignBottleneck(
  student: Weights,
  teacher: Weights,
  recipe: Recipe,
  training: Training,
): Promise<Weights> {
  const { epochs } = recipe;
  const forward = forwardOf(recipe);
  const taps = bottleneckTaps(teacher, recipe.config);
  return align(recipe, training, {
    student: { forward, weights: student },
    teachers: { original: { forward, weights: teacher } },
    patience: 3,
    taps: ({ epoch }) => (bottleneckAlpha(epoch, epochs) > 0 ? Object.values(taps).flat() : []),
    loss: (features, { original }, { epoch }) =>
      bottleneckAligning({ student: features, teacher: original, taps, a: bottleneckAlpha(epoch, epochs) }),
  });
}

/** Stage 2: heads and MLPs are narrow too; the stream is aligned with stage 1's, the embedding with the teacher's. */
export async function alignEmbedding(
  student: Weights,
  teachers: { original: Weights; previous: Weights },
  recipe: Recipe,
  training: Training,
): Promise<Weights> {
  const { epochs } = recipe;
  const forward = forwardOf(recipe);
  const tapsAt = (epoch: number) => (embeddingAlpha(epoch, epochs) > 0 ? embeddingTaps(student) : []);
  return align(recipe, training, {
    student: { forward, weights: student },
    teachers: {
      original: { forward, weights: teachers.original },
      previous: { forward, weights: teachers.previous },
    },
    patience: 4,
    taps: ({ epoch }) => {
      const student = tapsAt(epoch);
      return { student, teachers: { original: [], ...(student.length > 0 && { previous: student }) } };
    },
    loss: (features, { original, previous }, { epoch }) => {
      const a = embeddingAlpha(epoch, epochs);
      return embeddingAligning({ student: features, teacher: original, previous, taps: tapsAt(epoch), a });
    },
  });
}

const forwardOf =
  ({ config }: Recipe) =>
  (weights: Weights, images: tf.Tensor4D, taps: readonly string[] = []) =>
    encodeImage(weights, config, images, { taps });

/** Every eighth image is held back: it tells the learning rate and the best epoch. */
function split(images: readonly string[]): { seen: string[]; held: string[] } {
  const held = images.filter((_, i) => i % 8 === 7);
  const seen = images.filter((_, i) => i % 8 !== 7);
  return { seen, held: held.length > 0 ? held : seen };
}

/** What a checkpoint says of its run. */
interface Notes {
  readonly fingerprint: string;
  /** [step, loss] */
  readonly curve: [number, number][];
}

async function align<T extends string>(
  recipe: Recipe,
  { checkpoint, fingerprint, onStep }: Training,
  how: Pick<DistillOptions<T | 'original'>, 'student' | 'taps' | 'loss'> & {
    teachers: Readonly<Record<T | 'original', Model>>;
    patience: number;
  },
): Promise<Weights> {
  const { config, epochs, seed, signal } = recipe;
  const { seen, held } = split(recipe.images);
  const found = existsSync(checkpoint) ? await loadTraining(checkpoint) : undefined;
  const notes = found?.notes as Notes | undefined;
  const saved = notes?.fingerprint === fingerprint ? found : undefined;
  const curve = saved ? notes!.curve : [];
  for (const point of curve) onStep(...point);
  if (saved) console.log(`going on after epoch ${saved.state.position.epoch} of ${epochs}: ${checkpoint}`);
  const rate = plateau({ learningRate: 1e-3, patience: how.patience, from: saved?.plateau });
  const keeper = keepBest(saved?.best);
  let last: Weights = {};
  try {
    for await (const { position, epochDone, loss, weights, state } of distill({
      ...how,
      trainable: (name) => name.startsWith('image_encoder.'),
      optimizer: adam(),
      learningRate: rate,
      async *batches(epoch, startBatch) {
        for (const order of shuffledBatches(seen.length, { batchSize, seed, epoch, startBatch })) {
          const images = order.map((i) => seen[i]!);
          yield await stacked(images, config);
        }
      },
      epochs,
      resume: saved?.state,
      signal,
    })) {
      last = weights;
      curve.push([position.step, loss]);
      onStep(position.step, loss);
      if (!epochDone) continue;
      const metric = -(await embeddingError(weights, how.teachers.original.weights, { ...recipe, images: held }));
      rate.feed(metric);
      keeper.offer(metric, weights);
      const notes: Notes = { fingerprint, curve };
      await saveTraining(checkpoint, state, { best: keeper.best, plateau: rate.state(), notes });
    }
    return Object.fromEntries(Object.entries(keeper.best!.weights).map(([name, weight]) => [name, tf.clone(weight)]));
  } finally {
    keeper.dispose();
    disposeWeights(last);
    if (found) {
      for (const weights of [found.state.weights, found.state.optimizer.m, found.state.optimizer.v])
        disposeWeights(weights);
      if (found.best) disposeWeights(found.best.weights);
    }
  }
}

/** Mean squared error of the image embedding. */
async function embeddingError(student: Weights, teacher: Weights, { images, config }: Recipe): Promise<number> {
  let total = 0;
  for await (const batch of oneByOne(images, config)) {
    const error = tf.tidy(() => {
      const [theirs, ours] = [teacher, student].map((weights) => encodeImage(weights, config, batch).embedding);
      return tf.losses.meanSquaredError(theirs!, ours!);
    });
    total += (await error.data())[0]!;
    error.dispose();
  }
  return total / images.length;
}
