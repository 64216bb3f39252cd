import { parseSamConfig, type SamConfig } from './config.ts';
import type { SamSizes } from './init.ts';

/** What `initSam` makes a SAM of. */
export interface SamPreset {
  readonly config: SamConfig;
  readonly sizes: SamSizes;
}

/**
 * The sizes of the SAMs that Meta released, by Hugging Face's names (segment-anything, build_sam.py), and `tiny`: a random SAM of
 * 25,000 parameters for images of 64 pixels, to try code with.
 */
export const samPresets: Readonly<Record<'sam-vit-base' | 'sam-vit-large' | 'sam-vit-huge' | 'tiny', SamPreset>> = {
  'sam-vit-base': released({ width: 768, depth: 12, heads: 12, globalBlocks: [2, 5, 8, 11] }),
  'sam-vit-large': released({ width: 1024, depth: 24, heads: 16, globalBlocks: [5, 11, 17, 23] }),
  'sam-vit-huge': released({ width: 1280, depth: 32, heads: 16, globalBlocks: [7, 15, 23, 31] }),
  tiny: {
    config: parseSamConfig({
      ...{ imageSize: 64, patchSize: 8, heads: 2, headWidth: 8, windowSize: 4, globalBlocks: [1], decoderHeads: 2 },
    }),
    sizes: {
      ...{ width: 16, depth: 2, mlpWidth: 64, promptWidth: 16 },
      ...{ maskChannels: 8, decoderMlpWidth: 32, iouHiddenWidth: 16 },
    },
  },
};

function released(encoder: { width: number; depth: number; heads: number; globalBlocks: number[] }): SamPreset {
  const { width, depth, heads, globalBlocks } = encoder;
  return {
    config: parseSamConfig({
      ...{ imageSize: 1024, patchSize: 16, heads, headWidth: width / heads, windowSize: 14, globalBlocks },
      decoderHeads: 8,
    }),
    sizes: {
      ...{ width, depth, mlpWidth: 4 * width, promptWidth: 256 },
      ...{ maskChannels: 16, decoderMlpWidth: 2048, iouHiddenWidth: 256 },
    },
  };
}
