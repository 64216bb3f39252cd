import { checkFields, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Sam } from '../checkpoint/load-sam.ts';
import { decodeImage } from '../images/image.ts';
import { type ImagePixels, toRgb } from '../images/image-pixels.ts';
import { type ImageSource, isSource } from '../images/image-source.ts';
import { preprocess } from '../images/preprocess.ts';
import type { SamConfig } from '../sam/config.ts';
import { encodeImage } from '../sam/encoder.ts';
import { bestOf, decodePrompts, type ImageRequest } from './decode-prompts.ts';
import { checkEmbedding, type EmbeddedImage, type ImageEmbedding } from './image-embedding.ts';
import { type ImagePrompts, listPrompts } from './image-prompts.ts';
import { readMasks } from './read-masks.ts';

export interface PredictOptions {
  /** Three masks for each prompt, by default; one if false. */
  readonly multimask?: boolean;
  /** true: of a prompt's three masks only the one with the highest score; the others are not brought to the size of the image. */
  readonly best?: boolean;
  /** true: also gives `logits`, in the size of the image. */
  readonly logits?: boolean;
  /**
   * Bytes of tensors that decoding may hold beside weights, embeddings and results, about; 1 GiB by default. The least is one prompt
   * at a time, and of one mask a million pixels.
   */
  readonly memoryLimit?: number;
  /** Ends the work between two batches. */
  readonly signal?: AbortSignal;
}

/** Prompts about one of several images. */
export interface PredictRequest extends ImagePrompts {
  readonly image: ImageEmbedding;
}

/** Masks for the N prompts of an image. */
export interface Prediction {
  /** For each prompt, for each of its masks: [height * width] of 0 and 1, in the size of the image. */
  readonly masks: Uint8Array[][];
  /** For each prompt, for each of its masks: its predicted IoU. */
  readonly scores: number[][];
  /** For each prompt, for each of its masks: IoU of the mask at thresholds 1 logit above and below 0; 0 if it is empty at both. */
  readonly stabilityScores: number[][];
  /** [N, M, 4h, 4w] logits; the caller's to dispose of, and a `maskInput` when cut to one mask */
  readonly lowRes: tf.Tensor4D;
  /** If asked for. For each prompt, for each of its masks: [height * width]; above 0 is inside. */
  readonly logits?: Float32Array[][];
  /** Frees `lowRes`; the rest are plain arrays. */
  dispose(): void;
}

/** Encodes an image once and answers prompts about it. */
export interface Predictor {
  /**
   * Encodes an image: at once where its pixels are at hand (RGB or RGBA arrays, ImageData, a canvas, an ImageBitmap), after decoding a
   * path, address, Blob or encoded bytes, as `decodeImage` does.
   *
   * @throws when the image's data does not fit its size or cannot be decoded, or a weight is missing
   */
  embed(image: ImagePixels): EmbeddedImage;
  embed(image: ImageSource): Promise<EmbeddedImage>;
  embed(image: ImagePixels | ImageSource): EmbeddedImage | Promise<EmbeddedImage>;
  /** @throws when a prompt is wrong (see `ImagePrompts`), the embedding is another model's, or the signal aborts */
  predict(image: ImageEmbedding, prompts: ImagePrompts, options?: PredictOptions): Promise<Prediction>;
  /** `predict` for several images, whose prompts are decoded together. @throws as it does, naming the request */
  predictBatch(requests: readonly PredictRequest[], options?: PredictOptions): Promise<Prediction[]>;
}

/**
 * A predictor on the weights, which stay the caller's (segment-anything, predictor.py). `embed` reads the encoder's weights alone, and
 * `predict` all the others alone, so either can do without the rest.
 */
export function createPredictor(weights: Weights, config: SamConfig): Predictor {
  const sam = { weights, config };
  checkFields('createPredictor', sam, { weights: 'object', config: 'object' });

  function embed(image: ImagePixels): EmbeddedImage;
  function embed(image: ImageSource): Promise<EmbeddedImage>;
  function embed(image: ImagePixels | ImageSource): EmbeddedImage | Promise<EmbeddedImage>;
  function embed(image: ImagePixels | ImageSource): EmbeddedImage | Promise<EmbeddedImage> {
    if (isSource(image)) return decodeImage(image).then(embed);
    const rgb = toRgb(image, 'embed');
    const { pixels, inputSize } = preprocess(rgb, config);
    try {
      const { embedding } = encodeImage(weights, config, pixels);
      const originalSize: [number, number] = [rgb.height, rgb.width];
      return { embedding, inputSize, originalSize, dispose: () => embedding.dispose() };
    } finally {
      pixels.dispose();
    }
  }

  const predictor: Predictor = {
    embed,
    async predict(image, prompts, options) {
      if (typeof prompts !== 'object' || prompts === null)
        throw new Error(`predict: expected prompts like { points: [[x, y]] }, got ${String(prompts)}`);
      const [prediction] = await predictor.predictBatch([{ image, ...prompts }], options);
      return prediction!;
    },
    async predictBatch(
      requests,
      { multimask = true, best = false, logits = false, memoryLimit = 2 ** 30, signal } = {},
    ) {
      if (!(memoryLimit > 0)) {
        throw new Error(`predict: expected memoryLimit above 0 bytes, got ${memoryLimit}; leave it out for 1 GiB`);
      }
      const listed = requests.map((request, index) => {
        try {
          return listRequest(request, sam);
        } catch (error) {
          if (requests.length === 1 || !(error instanceof Error)) throw error;
          throw new Error(`predictBatch: request ${index}: ${error.message}`, { cause: error });
        }
      });
      if (listed.length === 0) return [];
      const decoded = await decodePrompts(sam, listed, { multimask, memoryLimit, signal });
      try {
        if (best) for (const [i, one] of decoded.entries()) decoded[i] = bestOf(one);
        const predictions: Prediction[] = [];
        for (const [i, { lowRes, scores }] of decoded.entries()) {
          const sizes = { ...listed[i]!.image, config };
          const masks = await readMasks(lowRes, sizes, { logits, memoryLimit, signal });
          predictions.push({ lowRes, scores, ...masks, dispose: () => lowRes.dispose() });
        }
        return predictions;
      } catch (error) {
        tf.dispose(decoded.map(({ lowRes }) => lowRes));
        throw error;
      }
    },
  };
  return predictor;
}

function listRequest({ image, ...prompts }: PredictRequest, sam: Sam): ImageRequest {
  checkEmbedding(image, sam);
  return { image, prompts: listPrompts(prompts, image, sam.config) };
}
