export { encoderAxes, encoderCosts } from './axes.ts';
export { parseSamConfig, type SamConfig } from './config.ts';
export { bottleneckTaps, embeddingTaps, encodeImage, type ImageFeatures } from './encoder.ts';
export { initSam, type SamSizes } from './init.ts';
export { decodeMasks, type MaskInputs, type Masks } from './mask-decoder.ts';
export { encodePrompts, type PromptFeatures, type Prompts, positionGrid } from './prompt-encoder.ts';
