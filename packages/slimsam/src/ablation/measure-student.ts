import { decodeRle, encodeRle, maskIou, type Rle } from '@slimsam/eval';
import { createPredictor, type Sam } from '@slimsam/vit';
import type * as tf from '@tensorflow/tfjs-core';
import { featureDistance } from '../evaluate/feature-distance.ts';
import type { LabelledImage, LabelledImages } from './labelled-images.ts';

/** What a student does on one image, next to its teacher: means over the objects, one point each. */
export interface ImageMeasures {
  /** sqrt(sum (x - y)² / sum y²) of the embeddings. */
  readonly error: number;
  readonly cosine: number;
  /** IoU with the teacher's masks. */
  readonly teacher: number;
  /** IoU with the labels. */
  readonly labels: number;
}

/** The names of what is measured, in the order of tables. */
export const measures = ['error', 'cosine', 'teacher', 'labels'] as const;

/** What a teacher says to a set of images, by name: embedding, and a mask for each object. */
export interface TeacherAnswers {
  readonly of: ReadonlyMap<string, { readonly embedding: tf.Tensor; readonly masks: readonly Rle[] }>;
  /** Frees the embeddings. */
  dispose(): void;
}

/** Asks a teacher once for all students. @throws when the signal aborts */
export async function askTeacher(teacher: Sam, images: LabelledImages, signal?: AbortSignal): Promise<TeacherAnswers> {
  const found = new Map<string, { embedding: tf.Tensor; masks: Rle[] }>();
  const dispose = () => {
    for (const { embedding } of found.values()) embedding.dispose();
  };
  try {
    for await (const image of images()) {
      signal?.throwIfAborted();
      const { embedding, masks } = await answer(teacher, image);
      found.set(image.name, { embedding, masks: masks.map((mask) => encodeRle(mask, image.image)) });
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return { of: found, dispose };
}

/** Measures a student on each image, by name. @throws when the teacher was not asked for one, or the signal aborts */
export async function measureStudent(
  student: Sam,
  inputs: {
    readonly images: LabelledImages;
    readonly answers: TeacherAnswers;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<Map<string, ImageMeasures>> {
  const found = new Map<string, ImageMeasures>();
  for await (const image of inputs.images()) {
    inputs.signal?.throwIfAborted();
    const known = inputs.answers.of.get(image.name);
    if (!known) throw new Error(`measureStudent: expected the teacher's answers to '${image.name}', got none`);
    const { embedding, masks } = await answer(student, image);
    const { share, cosine } = await featureDistance(embedding, known.embedding, { channels: 1 }).finally(() =>
      embedding.dispose(),
    );
    const mean = (wanted: (index: number) => Rle) =>
      masks.reduce((sum, mask, i) => sum + maskIou(mask, decodeRle(wanted(i))), 0) / masks.length;
    found.set(image.name, {
      ...{ error: Math.sqrt(share), cosine },
      teacher: mean((i) => known.masks[i]!),
      labels: mean((i) => image.objects[i]!.mask),
    });
  }
  return found;
}

/** The embedding, the caller's to dispose, and one mask [height * width] for each object. */
async function answer(
  { weights, config }: Sam,
  { image, objects }: LabelledImage,
): Promise<{ embedding: tf.Tensor; masks: Uint8Array[] }> {
  const predictor = createPredictor(weights, config);
  const embedded = predictor.embed(image);
  try {
    const points = objects.map(({ point: [x, y] }): [number, number][] => [[x, y]]);
    const { masks, lowRes } = await predictor.predict(embedded, { points }, { multimask: false });
    lowRes.dispose();
    return { embedding: embedded.embedding, masks: masks.map(([mask]) => mask!) };
  } catch (error) {
    embedded.dispose();
    throw error;
  }
}
