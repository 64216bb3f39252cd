import { createHash } from 'node:crypto';
import { decodeImage, preprocess, readImageFolder, type SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** What pruning and aligning need to know. */
export interface Recipe {
  readonly config: SamConfig;
  /** Paths of images; a batch is decoded when its turn comes. */
  readonly images: readonly string[];
  /** The share of channels to remove in each half of the structure. */
  readonly ratio: number;
  /** Of each stage. */
  readonly epochs: number;
  readonly seed: number;
  readonly signal: AbortSignal;
}

/** Finds the images of a folder that can be decoded, and a hash of their pixels; others are named and counted, or an error when `strict`. */
export async function findImages(
  folder: string,
  options: { strict: boolean; signal: AbortSignal },
): Promise<{ images: string[]; skipped: number; pixels: string }> {
  const { strict, signal } = options;
  const images: string[] = [];
  const hash = createHash('sha256');
  let skipped = 0;
  const onSkip = (path: string, error: Error) => console.warn(`skipped ${++skipped}: ${path} (${error.message})`);
  for await (const { path, image } of readImageFolder(folder, { strict, onSkip, signal })) {
    images.push(path);
    hash.update(`${image.width} x ${image.height}`).update(image.data);
  }
  return { images, skipped, pixels: hash.digest('hex') };
}

/** A hash of everything that a run's weights depend on: only an equal run may go on from another's checkpoints. */
export async function fingerprint(
  teacher: Weights,
  recipe: Recipe,
  facts: Readonly<Record<string, string>>,
): Promise<string> {
  const { config, ratio, epochs, seed } = recipe;
  const hash = createHash('sha256').update(JSON.stringify({ config, ratio, epochs, seed, ...facts }));
  for (const [name, weight] of Object.entries(teacher)) hash.update(name).update(await weight.data<'float32'>());
  return hash.digest('hex');
}

/** Batches of one image, disposed when the next is asked for. */
export async function* oneByOne(images: readonly string[], config: SamConfig): AsyncGenerator<tf.Tensor4D> {
  for (const image of images) {
    const batch = await stacked([image], config);
    try {
      yield batch;
    } finally {
      batch.dispose();
    }
  }
}

/** Decodes and preprocesses images -> [B, 3, S, S] */
export async function stacked(images: readonly string[], config: SamConfig): Promise<tf.Tensor4D> {
  const decoded = await Promise.all(images.map(decodeImage));
  return tf.tidy(() => tf.concat(decoded.map((image) => preprocess(image, config).pixels)));
}
