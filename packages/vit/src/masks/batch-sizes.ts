import type { SamConfig } from '../sam/config.ts';

/** What decoding works on. */
export interface DecodingSizes {
  /** Of an image's embedding: C * h * w. */
  readonly embeddingSize: number;
  /** Pixels of a mask in the image's size. */
  readonly maskPixels: number;
  /** Bytes of tensors that decoding may hold, about. */
  readonly memoryLimit: number;
}

/** What goes through the decoder, and is brought to full size, at once. */
export interface BatchSizes {
  readonly prompts: number;
  readonly masks: number;
  /** Of a single mask that is too large for the limit. */
  readonly pixels: number;
}

/** A million pixels are 32 MB. */
const leastPixels = 2 ** 20;

/**
 * How much is decoded at once within `memoryLimit`. The least is one prompt, and of one mask a million pixels.
 *
 * A prompt's intermediates are at most 28 times h * w * C floats (117 MB with SAM-B), a mask's twice the square's and eight times its own
 * pixels, as measured in batch-sizes.test.ts.
 */
export function batchSizes(
  { imageSize }: SamConfig,
  { embeddingSize, maskPixels, memoryLimit }: DecodingSizes,
): BatchSizes {
  const floats = memoryLimit / 4;
  const within = (size: number): number => Math.max(1, Math.floor(floats / size));
  return {
    prompts: within(28 * embeddingSize),
    masks: within(2 * imageSize ** 2 + 8 * maskPixels),
    pixels: Math.max(leastPixels, Math.floor((floats - 2 * imageSize ** 2) / 8)),
  };
}
