export { encoderAxes, encoderCosts } from './axes.ts';
export { type LoadedSam, type LoadSamOptions, loadSam, type Sam } from './checkpoint/load-sam.ts';
export { type SaveSamOptions, saveSam } from './checkpoint/save-sam.ts';
export { parseSamConfig, type SamConfig } from './config.ts';
export { bottleneckTaps, embeddingTaps, encodeImage, type ImageFeatures } from './encoder.ts';
export { decodeImage, type ReadImageFolderOptions, type RgbImage, readImageFolder } from './image.ts';
export { initSam, type SamSizes } from './init.ts';
export { decodeMasks, type MaskInputs, type Masks } from './mask-decoder.ts';
export {
  createPredictor,
  type ImageEmbedding,
  type ImagePrompts,
  type Prediction,
  type Predictor,
} from './predictor.ts';
export { type Preprocessed, preprocess } from './preprocess.ts';
export { encodePrompts, type PromptFeatures, type Prompts, positionGrid } from './prompt-encoder.ts';
export { resizeBilinear, resizeLongestSide } from './resize.ts';
export { type MaskSizes, upsampleMasks } from './upsample-masks.ts';
