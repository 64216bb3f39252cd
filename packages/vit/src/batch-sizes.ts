import type { SamConfig } from './config.ts';

/** What decoding works on. */
export interface DecodingSizes {
  /** Of an image's embedding: C * h * w. */
  readonly embeddingSize: number;
  /** Pixels of a mask in the image's size. */
  readonly maskPixels: number;
  /** Bytes of tensors that decoding may hold, about. */
  readonly memoryLimit: number;
}

/**
 * How many prompts go through the decoder at once, and how many masks are brought to full size at once, within `memoryLimit`; one of
 * each is the least.
 *
 * A prompt's intermediates are at most 28 times h * w * C floats (117 MB with SAM-B), a mask's twice the square's and eight times its own
 * pixels, as measured in batch-sizes.test.ts.
 */
export function batchSizes(
  { imageSize }: SamConfig,
  { embeddingSize, maskPixels, memoryLimit }: DecodingSizes,
): { prompts: number; masks: number } {
  const within = (floats: number): number => Math.max(1, Math.floor(memoryLimit / (4 * floats)));
  return { prompts: within(28 * embeddingSize), masks: within(2 * imageSize ** 2 + 8 * maskPixels) };
}
