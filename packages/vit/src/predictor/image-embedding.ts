import {
  checkFields,
  type OpenOptions,
  openTensors,
  printable,
  requireBackend,
  type Source,
  scope,
  serializeSafetensors,
  writeFileAtomic,
} from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Sam } from '../checkpoint/load-sam.ts';
import { fitLongestSide } from '../images/resize.ts';
import { gridSize } from '../sam/config.ts';

/** Uint8Array<ArrayBuffer>, as TypeScript before 5.7 can read it too. */
type Bytes = ReturnType<Uint8Array['slice']>;

/** Pixels of the largest image; that of `decodeImage`. Masks are of the image's size, so a file must not claim any. */
const mostPixels = 2 ** 28;

/** An encoded image, for any number of prompts. */
export interface ImageEmbedding {
  /** [1, C, h, w] */
  readonly embedding: tf.Tensor4D;
  /** [height, width] of the image */
  readonly originalSize: readonly [number, number];
  /** [height, width] of the resized image */
  readonly inputSize: readonly [number, number];
}

/** An encoded image that is the caller's to free. */
export interface EmbeddedImage extends ImageEmbedding {
  /** Frees the embedding. */
  dispose(): void;
}

/** @throws when an embedding does not fit the model, or its sizes one another */
export function checkEmbedding(image: ImageEmbedding, { weights, config }: Sam): void {
  if (typeof image !== 'object' || image === null || !Array.isArray(image.embedding?.shape))
    throw new Error(`predict: expected what embed or loadEmbedding gives as the image, got ${describe(image)}`);
  const { embedding, inputSize, originalSize } = image;
  const [side, C] = [gridSize(config), scope(weights, 'prompt_encoder')('no_mask_embed.weight').shape[1]!];
  const wanted = [1, C, side, side];
  if (embedding.shape.join() !== wanted.join()) {
    throw new Error(
      `predict: expected an embedding [${wanted.join(', ')}], got [${embedding.shape.join(', ')}]; encode the image with this model`,
    );
  }
  const fits = fitLongestSide({ height: originalSize[0], width: originalSize[1] }, config.imageSize);
  if (inputSize[0] === fits.height && inputSize[1] === fits.width) return;
  throw new Error(
    `predict: expected inputSize [${fits.height}, ${fits.width}] for an image of [${originalSize.join(', ')}], got [${inputSize.join(', ')}]; sizes are [height, width]`,
  );
}

export interface SerializeEmbeddingOptions {
  /** F16 takes half the bytes (2 MB with SAM-B) and keeps three digits. The default is F32. */
  readonly dtype?: 'F32' | 'F16';
}

/**
 * An encoded image as the bytes of a safetensors file, for `loadEmbedding`: encode where the encoder is, decode elsewhere.
 * The tensor `embedding` [1, C, h, w]; in the metadata, `original_size` and `input_size` as JSON [height, width].
 *
 * @throws when a value is beyond F16's +-65504
 */
export async function serializeEmbedding(
  image: ImageEmbedding,
  options: SerializeEmbeddingOptions = {},
): Promise<Bytes> {
  checkFields('serializeEmbedding', { options }, { options: 'object?' });
  checkFields('serializeEmbedding', image, { embedding: 'tensor', originalSize: 'list', inputSize: 'list' });
  const { embedding, originalSize, inputSize } = image;
  const { dtype = 'F32' } = options;
  const data = await embedding.data<'float32'>();
  const metadata = { original_size: JSON.stringify(originalSize), input_size: JSON.stringify(inputSize) };
  return serializeSafetensors({ embedding: { dtype, shape: embedding.shape, data } }, metadata);
}

/** `serializeEmbedding` into a file. @throws when the file cannot be written (an old one then stays) */
export async function saveEmbedding(
  path: string,
  image: ImageEmbedding,
  options: SerializeEmbeddingOptions = {},
): Promise<void> {
  checkFields('saveEmbedding', { path, image, options }, { path: 'string', image: 'object', options: 'object?' });
  await writeFileAtomic(path, await serializeEmbedding(image, options));
}

/**
 * An encoded image that `saveEmbedding` or `serializeEmbedding` wrote.
 *
 * @param source a path, an http(s) address, or the bytes
 * @throws when it is not there, truncated, or no embedding; `predict` throws when it is of another model
 */
export async function loadEmbedding(source: Source, options: OpenOptions = {}): Promise<EmbeddedImage> {
  checkFields('loadEmbedding', { options }, { options: 'object?' });
  requireBackend('loadEmbedding');
  const file = await openTensors(source, options);
  try {
    const shape = file.tensors.embedding?.shape;
    if (shape?.length !== 4 || shape[0] !== 1) {
      const got = shape
        ? `[${shape.join(', ')}]`
        : printable(Object.keys(file.tensors).slice(0, 3).join(', ')) || 'no tensors';
      throw new Error(
        `loadEmbedding: expected 'embedding' [1, C, h, w] in ${file.name}, got ${got}; saveEmbedding writes one`,
      );
    }
    const originalSize = sizeOf(file.metadata, { key: 'original_size', source: file.name });
    const inputSize = sizeOf(file.metadata, { key: 'input_size', source: file.name });
    const { data } = await file.read('embedding');
    const embedding = tf.tensor4d(data, [1, shape[1]!, shape[2]!, shape[3]!], 'float32');
    return { embedding, originalSize, inputSize, dispose: () => embedding.dispose() };
  } finally {
    await file.close();
  }
}

function describe(value: unknown): string {
  if (value instanceof Promise) return 'a Promise; await embed() of what must be decoded';
  return typeof value === 'object' && value !== null ? `{ ${Object.keys(value).join(', ')} }` : String(value);
}

function sizeOf(
  metadata: Readonly<Record<string, string>>,
  { key, source }: { key: string; source: string },
): [number, number] {
  const text = metadata[key] ?? '';
  const [, height, width] = (/^\[([1-9]\d*),\s*([1-9]\d*)\]$/.exec(text) ?? []).map(Number);
  if (height && width && height * width <= mostPixels) return [height, width];
  if (height && width)
    throw new Error(
      `loadEmbedding: expected ${key} of at most ${mostPixels} pixels in the metadata of ${source}, got [${height}, ${width}]`,
    );
  throw new Error(
    `loadEmbedding: expected ${key} in the metadata of ${source} as [height, width], got '${printable(text.slice(0, 40))}'; saveEmbedding writes it`,
  );
}
