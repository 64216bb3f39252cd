import * as tf from '@tensorflow/tfjs-core';
import { batchSizes } from '../masks/batch-sizes.ts';
import { stabilityAreas, stabilityScore } from '../masks/stability-score.ts';
import { upsampleMasks } from '../masks/upsample-masks.ts';
import type { SamConfig } from '../sam/config.ts';
import type { DecodeOptions } from './decode-prompts.ts';
import type { ImageEmbedding } from './image-embedding.ts';

/** Masks in the size of the image: for each prompt, for each of its masks. */
export interface FullSizeMasks {
  /** [height * width] of 0 and 1 */
  readonly masks: Uint8Array[][];
  readonly stabilityScores: number[][];
  /** [height * width], if asked for */
  readonly logits?: Float32Array[][];
}

/** One mask, as it is filled in band by band. */
interface MaskInMaking {
  readonly mask: Uint8Array;
  readonly logits: Float32Array | undefined;
  core: number;
  whole: number;
}

/**
 * Brings low resolution masks to the size of the image and reads them, as many at once as the memory limit allows; of a mask that is
 * larger than the limit, as many rows.
 *
 * @param lowRes [N, M, 4h, 4w]
 */
export async function readMasks(
  lowRes: tf.Tensor4D,
  { inputSize, originalSize, embedding, config }: ImageEmbedding & { config: SamConfig },
  { logits, memoryLimit, signal }: Omit<DecodeOptions, 'multimask'> & { logits: boolean },
): Promise<FullSizeMasks> {
  const [N, M, h, w] = lowRes.shape;
  const [height, width] = originalSize;
  const sizes = { embeddingSize: embedding.size, maskPixels: height * width, memoryLimit };
  const atOnce = batchSizes(config, sizes);
  const rowsAtOnce = height * width <= atOnce.pixels ? height : Math.max(1, Math.floor(atOnce.pixels / width));
  const read = Array.from({ length: N * M }, (): MaskInMaking => {
    const pixels = height * width;
    return { mask: new Uint8Array(pixels), logits: logits ? new Float32Array(pixels) : undefined, core: 0, whole: 0 };
  });
  for (let first = 0; first < N * M; first += atOnce.masks) {
    const chunk = read.slice(first, first + atOnce.masks);
    for (let row = 0; row < height; row += rowsAtOnce) {
      signal?.throwIfAborted();
      const rows = [row, Math.min(row + rowsAtOnce, height)] as const;
      const large = tf.tidy(() => {
        const flat = tf.reshape(lowRes, [1, N * M, h, w]) as tf.Tensor4D;
        const some = tf.slice(flat, [0, first, 0, 0], [1, chunk.length, h, w]);
        const square = { inputSize, originalSize, imageSize: config.imageSize };
        const band = upsampleMasks(some, rowsAtOnce < height ? { ...square, rows } : square);
        return tf.squeeze(band, [0]) as tf.Tensor3D; // [chunk, rows, W]
      });
      await fill(chunk, large, row * width).finally(() => large.dispose());
    }
  }
  const table = <T>(cell: (entry: MaskInMaking) => T): T[][] =>
    Array.from({ length: N }, (_, n) => read.slice(n * M, (n + 1) * M).map(cell));
  return {
    masks: table(({ mask }) => mask),
    stabilityScores: table(stabilityScore),
    ...(logits && { logits: table((entry) => entry.logits!) }),
  };
}

/** Reads a band [chunk, rows, W] into masks, from the pixel `at` on. */
async function fill(chunk: readonly MaskInMaking[], band: tf.Tensor3D, at: number): Promise<void> {
  const inside = tf.tidy(() => tf.greater(band, 0));
  const [areas, bits, values] = await Promise.all([
    stabilityAreas(band, { threshold: 0, offset: 1 }),
    inside.data<'bool'>(),
    chunk[0]!.logits && band.data<'float32'>(),
  ]).finally(() => inside.dispose());
  const size = band.shape[1] * band.shape[2];
  chunk.forEach((entry, i) => {
    const [from, to] = [i * size, (i + 1) * size];
    entry.mask.set(bits.subarray(from, to), at);
    if (values) entry.logits?.set(values.subarray(from, to), at);
    entry.core += areas[i]!.core;
    entry.whole += areas[i]!.whole;
  });
}
