import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { SamConfig } from './config.ts';
import { encodeImage } from './encoder.ts';
import type { RgbImage } from './image.ts';
import { decodeMasks } from './mask-decoder.ts';
import { preprocess } from './preprocess.ts';
import { encodePrompts } from './prompt-encoder.ts';
import { upsampleMasks } from './upsample-masks.ts';

/** An encoded image, for any number of prompts. Its `embedding` is the caller's to dispose of. */
export interface ImageEmbedding {
  /** [1, C, h, w] */
  readonly embedding: tf.Tensor4D;
  /** [height, width] of the image */
  readonly originalSize: [number, number];
  /** [height, width] of the resized image */
  readonly inputSize: [number, number];
}

/** Prompts in pixels of the image: one of them, or N of them when the arrays are one level deeper. */
export interface ImagePrompts {
  /** [P, 2] or [N, P, 2], x and y */
  readonly points?: readonly (readonly number[])[] | readonly (readonly (readonly number[])[])[];
  /** [P] or [N, P]: 1 inside, 0 outside, -1 padding; all 1 unless given */
  readonly labels?: readonly number[] | readonly (readonly number[])[];
  /** [4] or [N, 4], x0 y0 x1 y1 */
  readonly boxes?: readonly number[] | readonly (readonly number[])[];
  /** [N, 1, 4h, 4w], low resolution logits of an earlier prediction */
  readonly maskInput?: tf.Tensor;
  /** Three masks for each prompt, by default; one if false. */
  readonly multimask?: boolean;
}

/** Masks for N prompts. */
export interface Prediction {
  /** For each prompt, for each of its masks: [height * width] of 0 and 1, in the size of the image. */
  readonly masks: Uint8Array[][];
  /** For each prompt, for each of its masks: its predicted IoU. */
  readonly scores: number[][];
  /** [N, M, 4h, 4w] logits; the caller's to dispose of, and a `maskInput` when cut to one mask */
  readonly lowRes: tf.Tensor4D;
}

/** Encodes an image once and answers prompts about it. */
export interface Predictor {
  /** @throws when a weight is missing */
  embed(image: RgbImage): ImageEmbedding;
  /** @throws when there is no prompt, or their shapes disagree */
  predict(embedding: ImageEmbedding, prompts: ImagePrompts): Promise<Prediction>;
}

/** A predictor on the weights, which stay the caller's (segment-anything, predictor.py). */
export function createPredictor(weights: Weights, config: SamConfig): Predictor {
  return {
    embed(image) {
      const { pixels, inputSize } = preprocess(image, config);
      const { embedding } = encodeImage(weights, config, pixels);
      pixels.dispose();
      return { embedding, inputSize, originalSize: [image.height, image.width] };
    },
    async predict(image, prompts) {
      const { inputSize, originalSize } = image;
      const { lowRes, scores, bits } = tf.tidy(() => {
        const { embedding } = image;
        const { sparse, dense } = encodePrompts(weights, config, toTensors(prompts, image));
        const decoded = decodeMasks(weights, config, {
          embedding,
          sparse,
          dense,
          multimask: prompts.multimask ?? true,
        });
        const sizes = { inputSize, originalSize, imageSize: config.imageSize };
        return {
          lowRes: decoded.masks,
          scores: decoded.scores,
          bits: tf.greater(upsampleMasks(decoded.masks, sizes), 0),
        };
      });
      try {
        const [N, M] = lowRes.shape;
        const pixels = originalSize[0] * originalSize[1];
        const all = await bits.data<'bool'>();
        const values = await scores.data();
        const table = <T>(cell: (index: number) => T): T[][] =>
          Array.from({ length: N }, (_, n) => Array.from({ length: M }, (_, m) => cell(n * M + m)));
        return {
          masks: table((i) => all.subarray(i * pixels, (i + 1) * pixels)),
          scores: table((i) => values[i]!),
          lowRes,
        };
      } catch (error) {
        lowRes.dispose();
        throw error;
      } finally {
        tf.dispose([scores, bits]);
      }
    },
  };
}

/** Arrays in pixels of the image to tensors in pixels of the resized image. */
function toTensors(prompts: ImagePrompts, { originalSize, inputSize }: ImageEmbedding) {
  const { points, boxes, maskInput: masks } = prompts;
  const scale = [inputSize[1] / originalSize[1], inputSize[0] / originalSize[0]];
  const places = points && batched(points, { name: 'points', rank: 3 });
  const corners = boxes && batched(boxes, { name: 'boxes', rank: 2 });
  if (corners && corners.shape[1] !== 4) {
    throw new Error(`predict: expected boxes [4] or [N, 4], got [${corners.shape}]`);
  }
  const labels = prompts.labels
    ? batched(prompts.labels, { name: 'labels', rank: 2 })
    : places && tf.ones(places.shape.slice(0, 2));
  return {
    points: places && tf.mul(places, scale),
    labels,
    boxes: corners && tf.mul(corners, [...scale, ...scale]),
    masks,
  };
}

/** A tensor of the rank, from an array of it or of one level less (then N = 1). */
function batched(values: tf.TensorLike, { name, rank }: { name: string; rank: number }): tf.Tensor {
  const tensor = tf.tensor(values, undefined, 'float32');
  if (tensor.rank === rank) return tensor;
  if (tensor.rank === rank - 1) return tf.expandDims(tensor, 0);
  throw new Error(`predict: expected ${name} of ${rank - 1} or ${rank} dimensions, got [${tensor.shape}]`);
}
