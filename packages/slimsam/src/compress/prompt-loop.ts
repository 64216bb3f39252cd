import { type TrainingStep, type TrainOptions, train } from '@slimsam/distill';
import type { SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { decodeGroups, isRefined, type PromptStep, promptLoss, promptStep, refine } from '../training/prompt-step.ts';
import { batchesOf, type Context, type Epoch, type PhotographBatch, pixelsOf } from './context.ts';
import { iouOf, objectsOf, type TeacherObject } from './teacher-objects.ts';

/** Photographs with what the original says of them. */
type PromptBatch = {
  /** [B, 3, S, S] */ images: tf.Tensor4D;
  /** [B, C, h, w], the original's. */ embedding: tf.Tensor4D;
  /** [objects, cells, cells], 1 inside. */ targets: tf.Tensor3D;
  step: PromptStep;
  number: number;
};

/** Prompts of a photograph in a step, as many as `trainSam` asks. */
const prompts = 8;
/** SAM's own weights of its losses would hold every pixel at 'outside' where masks are far off: a cross entropy does not. */
const crossEntropy = { gamma: 0, alpha: 0.5, weight: 4 };

/** What training by prompts needs. */
interface PromptLoop extends Omit<TrainOptions<PromptBatch, PromptStep | undefined>, 'loss' | 'batches' | 'prepare'> {
  readonly original: Weights;
  readonly epochOf: (epoch: number, startBatch: number) => Epoch;
  /** Batches of an epoch. */
  readonly perEpoch: number;
  /** The weights after the last step. */
  readonly latest: () => Weights;
  readonly seed: number;
}

/**
 * Trains the image encoder through the frozen prompt encoder and mask decoder: SAM's mask loss of the student's answers to prompts whose
 * objects are the original's own masks, and the mean squared error of the embedding. Every eighth step asks a second point where the answer
 * to the first is wrong (prompts in the loop; EdgeSAM, section 3.2).
 *
 * @throws as `train` does, or when the original sees no object in any photograph
 */
export function trainByPrompts(context: Context, loop: PromptLoop): AsyncGenerator<TrainingStep, void, undefined> {
  const { network, recompute } = context;
  const config = samConfigOf(context);
  const { original, epochOf, perEpoch, latest, seed, ...rest } = loop;
  const embed = (weights: Weights, images: tf.Tensor4D, recompute = false) =>
    network.forward(weights, images, { recompute }).embedding as tf.Tensor4D;
  return train<PromptBatch, PromptStep | undefined>({
    ...rest,
    sizeOf: ({ images }) => images.shape[0],
    batches: (epoch, startBatch) =>
      promptBatches(context, { original, config, seed, epoch: epochOf(epoch, startBatch), first: epoch * perEpoch }),
    prepare: async ({ images, targets, step, number }) => {
      if (!isRefined(number)) return undefined;
      const embedding = tf.tidy(() => embed(latest(), images));
      const refined = refine(latest(), config, { embedding, step, targets, seed: seed + number });
      embedding.dispose();
      return refined;
    },
    loss: ({ weights, batch: { images, embedding: wanted, targets, step }, prepared }) => {
      const embedding = embed(weights, images, recompute);
      const masks = promptLoss(weights, config, { embedding, step: prepared ?? step, targets, focal: crossEntropy });
      const error = tf.mean(tf.squaredDifference(embedding, wanted)) as tf.Scalar;
      return { total: tf.add(masks.total, error) as tf.Scalar, parts: { ...masks.parts, embedding: error } };
    },
  });
}

/** Agreement of a SAM's masks with the original's, on the photographs that are held back. */
export interface Agreement {
  /** Mean IoU with the original's objects, asked by one point each: within a photograph, then over photographs; 0 where it sees none. */
  of(student: Weights): Promise<number>;
}

export function agreementWith(context: Context, original: Weights): Agreement {
  const { network, held, seed } = context;
  const config = samConfigOf(context);
  const known = new Map<number, TeacherObject[]>();
  const embed = (weights: Weights, pixels: tf.Tensor4D) =>
    tf.tidy(() => network.forward(weights, pixels, {}).embedding as tf.Tensor4D);
  return {
    async of(student) {
      let [sum, count] = [0, 0];
      for await (const { index, pixels, content } of pixelsOf(context, held)) {
        let objects = known.get(index);
        if (!objects) {
          const embedding = embed(original, pixels);
          const options = { content, seed: seed * 31 + index };
          objects = await objectsOf({ weights: original, config }, embedding, options).finally(() =>
            embedding.dispose(),
          );
          known.set(index, objects);
        }
        if (objects.length === 0) continue;
        const embedding = embed(student, pixels);
        const ious = await iousOf({ weights: student, config }, embedding, objects).finally(() => embedding.dispose());
        sum += ious.reduce((total, iou) => total + iou, 0) / ious.length;
        count++;
      }
      return count === 0 ? 0 : sum / count;
    },
  };
}

/** IoUs of a SAM's masks, asked by the first point inside each object, with the objects. */
async function iousOf(
  { weights, config }: { weights: Weights; config: SamConfig },
  embedding: tf.Tensor4D,
  objects: readonly TeacherObject[],
): Promise<number[]> {
  const found = tf.tidy(() => {
    const count = objects.length;
    const points = tf.tensor3d(
      objects.flatMap(({ prompts }) => [...prompts.inside[0]!]),
      [count, 1, 2],
    );
    const group = { count, points, labels: tf.ones<tf.Rank.R2>([count, 1]) };
    const { masks } = decodeGroups(weights, config, { embedding, groups: [group], multimask: false });
    return tf.cast(tf.greater(masks, 0), 'int32');
  });
  const values = await found.data<'int32'>().finally(() => found.dispose());
  const size = values.length / objects.length;
  return objects.map(({ mask }, i) => iouOf(values.subarray(i * size, (i + 1) * size), mask));
}

/** `compress` has checked that it is there. */
const samConfigOf = ({ network }: Context): SamConfig => network.sam!;

async function* promptBatches(
  context: Context,
  inputs: { original: Weights; config: SamConfig; seed: number; epoch: Epoch; first: number },
): AsyncGenerator<PromptBatch> {
  const { original, config, seed, epoch, first } = inputs;
  let number = first + epoch.startBatch;
  for await (const batch of batchesOf(context, epoch)) {
    const made = await promptBatch(context, batch, { original, config, seed, number });
    number++;
    if (made) yield made;
    else yield await anotherBatch(context, { original, config, seed, number: number - 1, epoch });
  }
}

/** A batch of one photograph of the epoch in which the original sees an object. @throws when there is none */
async function anotherBatch(
  context: Context,
  { epoch, ...inputs }: { original: Weights; config: SamConfig; seed: number; number: number; epoch: Epoch },
): Promise<PromptBatch> {
  const again = { ...epoch, startBatch: 0 };
  for await (const batch of batchesOf({ ...context, batch: 1 }, again)) {
    const made = await promptBatch(context, batch, inputs);
    if (made) return made;
  }
  throw new Error(
    "compress: expected an original that sees objects in the photographs for the loss 'prompts', got empty masks everywhere; is it trained?",
  );
}

/** The photographs in which the original sees objects, with prompts for them; undefined when there are none. The batch is disposed. */
async function promptBatch(
  { network }: Context,
  { images, sizes }: PhotographBatch,
  { original, config, seed, number }: { original: Weights; config: SamConfig; seed: number; number: number },
): Promise<PromptBatch | undefined> {
  const embedding = tf.tidy(() => network.forward(original, images, {}).embedding as tf.Tensor4D);
  try {
    const seen: { at: number; objects: TeacherObject[] }[] = [];
    for (const [at, content] of sizes.entries()) {
      const one = tf.tidy(() => tf.gather(embedding, tf.tensor1d([at], 'int32')) as tf.Tensor4D);
      const options = { content, seed: (seed * 1_000_003 + number * 101 + at) | 0 };
      const objects = await objectsOf({ weights: original, config }, one, options).finally(() => one.dispose());
      if (objects.length > 0) seen.push({ at, objects });
    }
    if (seen.length === 0) return undefined;
    const views = seen.map(({ objects }) => objects.map((object) => object.prompts));
    const step = promptStep(views, { step: number, seed, prompts, side: config.imageSize });
    return tf.tidy(() => {
      const places = tf.tensor1d(
        seen.map(({ at }) => at),
        'int32',
      );
      const masks = seen.flatMap(({ objects }) => objects.map(({ mask }) => mask));
      const cells = Math.sqrt(masks[0]!.length);
      const values = Float32Array.from(masks.flatMap((mask) => [...mask]));
      return {
        ...{ images: tf.gather(images, places), embedding: tf.gather(embedding, places), step, number },
        targets: tf.tensor3d(values, [masks.length, cells, cells]),
      };
    });
  } finally {
    tf.dispose([images, embedding]);
  }
}
