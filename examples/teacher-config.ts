import { parseSamConfig, type SamConfig } from '@slimsam/vit';

/** A SAM at a hundredth of SAM-B's cost: 256 x 256 pixels, a 16 x 16 grid, six blocks of which two are global. */
export const teacherConfig: SamConfig = parseSamConfig({
  imageSize: 256,
  patchSize: 16,
  heads: 4,
  headWidth: 32,
  windowSize: 8,
  globalBlocks: [2, 5],
  decoderHeads: 4,
});

/** The widths that the weights' shapes carry. */
export const teacherSizes = {
  width: 128,
  depth: 6,
  mlpWidth: 512,
  promptWidth: 64,
  maskChannels: 16,
  decoderMlpWidth: 256,
  iouHiddenWidth: 64,
} as const;
