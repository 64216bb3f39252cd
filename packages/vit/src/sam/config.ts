import { checkFields } from '@slimsam/weights';
import * as z from 'zod/mini';
import { parseBy } from '../parse-by.ts';

/** What the shapes of the weights cannot tell about a SAM. Widths and depths come from the weights, so pruning keeps the config. */
export interface SamConfig {
  /** Side of the square input, pixels. */
  readonly imageSize: number;
  /** Side of a patch, pixels. */
  readonly patchSize: number;
  /** Attention heads of the image encoder. */
  readonly heads: number;
  /** Channels of a head before any pruning: attention scores keep the scale headWidth^-1/2 when channels are removed. */
  readonly headWidth: number;
  /** Side of an attention window, patches. */
  readonly windowSize: number;
  /** The blocks that attend globally. */
  readonly globalBlocks: readonly number[];
  /** Attention heads of the mask decoder. */
  readonly decoderHeads: number;
  /** Mean and standard deviation of R, G, B, in [0, 255]. */
  readonly pixelMean: readonly [number, number, number];
  readonly pixelStd: readonly [number, number, number];
  /** Added to the variance by the layer norms of the encoder's blocks; SAM's 1e-6 unless given. */
  readonly epsilon?: number | undefined;
}

const count = z.int().check(z.positive());
/** The largest ViTs have 48; a file must not claim any number. */
const heads = count.check(z.maximum(1024));
const rgb = z.tuple([z.number(), z.number(), z.number()]);
const samConfig = z.strictObject({
  imageSize: count,
  patchSize: count,
  heads,
  headWidth: count,
  windowSize: count,
  globalBlocks: z.array(z.int().check(z.nonnegative())),
  decoderHeads: heads,
  pixelMean: z._default(rgb, [123.675, 116.28, 103.53]),
  pixelStd: z._default(rgb, [58.395, 57.12, 57.375]),
  epsilon: z.optional(z.number().check(z.positive())),
});

/**
 * Checks a config read from JSON. Mean and standard deviation of the pixels default to SAM's.
 *
 * @throws when a field is missing, unknown or of another type, naming each
 */
export function parseSamConfig(json: unknown): SamConfig {
  const config = parseBy(samConfig, json, { expected: 'SAM config: expected the fields of SamConfig' });
  const { imageSize, patchSize } = config;
  if (imageSize % patchSize !== 0) {
    throw new Error(`SAM config: expected imageSize to be a multiple of patchSize, got ${imageSize} and ${patchSize}`);
  }
  return config;
}

/**
 * The config of a model of which only these blocks are left, numbered anew: `kept` from a plan's `blocks`.
 *
 * @throws when there is no kept block, or their numbers do not rise
 */
export function keepBlocks(config: SamConfig, kept: readonly number[]): SamConfig {
  checkFields('keepBlocks', { kept }, { kept: 'list' });
  checkFields('keepBlocks', config, { globalBlocks: 'list' });
  if (
    kept.length === 0 ||
    kept.some((block, i) => !Number.isInteger(block) || block < 0 || block <= (kept[i - 1] ?? -1))
  )
    throw new Error(`keepBlocks: expected rising numbers of blocks, got [${kept.join(', ')}]`);
  return { ...config, globalBlocks: kept.flatMap((block, i) => (config.globalBlocks.includes(block) ? [i] : [])) };
}

/** Side of the grid of patches. */
export function gridSize(config: SamConfig): number {
  return config.imageSize / config.patchSize;
}
