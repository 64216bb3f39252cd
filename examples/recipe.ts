import { createHash } from 'node:crypto';
import { preprocess, readImageFolder, type SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** What pruning and aligning need to know. */
export interface Recipe {
  readonly config: SamConfig;
  /** Preprocessed images, [3 * S * S] each. */
  readonly images: readonly Float32Array[];
  /** The share of channels to remove in each half of the structure. */
  readonly ratio: number;
  /** Of each stage. */
  readonly epochs: number;
  readonly seed: number;
  readonly signal: AbortSignal;
}

/** Reads and preprocesses a folder of images; those that cannot be decoded are named and counted, or an error when `strict`. */
export async function readImages(
  folder: string,
  options: { config: SamConfig; strict: boolean; signal: AbortSignal },
): Promise<{ images: Float32Array[]; skipped: number }> {
  const { config, strict, signal } = options;
  const images: Float32Array[] = [];
  let skipped = 0;
  const onSkip = (path: string, error: Error) => console.warn(`skipped ${++skipped}: ${path} (${error.message})`);
  for await (const { image } of readImageFolder(folder, { strict, onSkip, signal })) {
    const { pixels } = preprocess(image, config);
    images.push((await pixels.data()) as Float32Array);
    pixels.dispose();
  }
  return { images, skipped };
}

/** A hash of everything that a run's weights depend on: only an equal run may go on from another's checkpoints. */
export async function fingerprint(teacher: Weights, recipe: Recipe, adapter: string): Promise<string> {
  const { config, images, ratio, epochs, seed } = recipe;
  const hash = createHash('sha256').update(JSON.stringify({ config, ratio, epochs, seed, adapter }));
  for (const image of images) hash.update(image);
  for (const [name, weight] of Object.entries(teacher)) hash.update(name).update(await weight.data<'float32'>());
  return hash.digest('hex');
}

/** Batches of one image, disposed when the next is asked for. */
export function* oneByOne(images: readonly Float32Array[], config: SamConfig): Generator<tf.Tensor4D> {
  for (const image of images) {
    const batch = stacked([image], config);
    try {
      yield batch;
    } finally {
      batch.dispose();
    }
  }
}

/** [B, 3, S, S] */
export function stacked(images: readonly Float32Array[], { imageSize }: SamConfig): tf.Tensor4D {
  const values = new Float32Array(images.length * 3 * imageSize * imageSize);
  images.forEach((image, i) => {
    values.set(image, i * image.length);
  });
  return tf.tensor4d(values, [images.length, 3, imageSize, imageSize]);
}
