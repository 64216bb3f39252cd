import * as tf from '@tensorflow/tfjs-core';
import { batchSizes } from '../batch-sizes.ts';
import type { SamConfig } from '../config.ts';
import { stabilityScores } from '../stability-scores.ts';
import { upsampleMasks } from '../upsample-masks.ts';
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

/**
 * Brings low resolution masks to the size of the image and reads them, as many at once as the memory limit allows.
 *
 * @param lowRes [N, M, 4h, 4w]
 */
export async function readMasks(
  lowRes: tf.Tensor4D,
  { inputSize, originalSize, embedding, config }: ImageEmbedding & { config: SamConfig },
  { logits, memoryLimit, signal }: Omit<DecodeOptions, 'multimask'> & { logits: boolean },
): Promise<FullSizeMasks> {
  const [N, M, h, w] = lowRes.shape;
  const pixels = originalSize[0] * originalSize[1];
  const sizes = { embeddingSize: embedding.size, maskPixels: pixels, memoryLimit };
  const { masks: atOnce } = batchSizes(config, sizes);
  const read: { mask: Uint8Array; stability: number; logits: Float32Array | undefined }[] = [];
  for (let at = 0; at < N * M; at += atOnce) {
    signal?.throwIfAborted();
    const count = Math.min(atOnce, N * M - at);
    const large = tf.tidy(() => {
      const flat = tf.reshape(lowRes, [1, N * M, h, w]) as tf.Tensor4D;
      const chunk = tf.slice(flat, [0, at, 0, 0], [1, count, h, w]);
      const square = { inputSize, originalSize, imageSize: config.imageSize };
      return tf.squeeze(upsampleMasks(chunk, square), [0]) as tf.Tensor3D; // [count, H, W]
    });
    try {
      const values = logits ? large.data<'float32'>() : undefined;
      const inside = tf.tidy(() => tf.greater(large, 0));
      const bits = inside.data<'bool'>().finally(() => inside.dispose());
      const [stable, all, floats] = await Promise.all([
        stabilityScores(large, { threshold: 0, offset: 1 }),
        bits,
        values,
      ]);
      stable.forEach((stability, i) => {
        const [start, end] = [i * pixels, (i + 1) * pixels];
        read.push({ mask: all.subarray(start, end), stability, logits: floats?.subarray(start, end) });
      });
    } finally {
      large.dispose();
    }
  }
  const table = <T>(cell: (entry: (typeof read)[number]) => T): T[][] =>
    Array.from({ length: N }, (_, n) => read.slice(n * M, (n + 1) * M).map(cell));
  return {
    masks: table(({ mask }) => mask),
    stabilityScores: table(({ stability }) => stability),
    ...(logits && { logits: table((entry) => entry.logits!) }),
  };
}
