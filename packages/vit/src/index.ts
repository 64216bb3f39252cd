export { encoderAxes, encoderCosts } from './axes.ts';
export { type LoadedSam, type LoadSamOptions, loadSam, type Sam } from './checkpoint/load-sam.ts';
export type { SamPart } from './checkpoint/names.ts';
export { type SaveSamOptions, saveSam } from './checkpoint/save-sam.ts';
export { parseSamConfig, type SamConfig } from './config.ts';
export { bottleneckTaps, embeddingTaps, encodeImage, type ImageFeatures } from './encoder.ts';
export { labelMap } from './everything/label-map.ts';
export type { EverythingOptions, EverythingProgress } from './everything/options.ts';
export { type EncodeMask, type EverythingMask, segmentEverything } from './everything/segment-everything.ts';
export { halfPrecision } from './half-precision.ts';
export { decodeImage, type ImageSource, type ReadImageFolderOptions, type RgbImage, readImageFolder } from './image.ts';
export { initSam, type SamSizes } from './init.ts';
export { decodeMasks, type MaskInputs, type Masks } from './mask-decoder.ts';
export { vitAxes, vitCosts } from './plain/axes.ts';
export { parseVitConfig, type VitConfig } from './plain/config.ts';
export { type VitFeatures, vitFeatures, vitHead, vitTaps } from './plain/features.ts';
export { initVit, type VitSizes } from './plain/init-vit.ts';
export { type LoadedVit, type LoadVitOptions, loadVit, type Origin, type Vit } from './plain/load-vit.ts';
export { preprocessVit } from './plain/preprocess-vit.ts';
export { saveVit } from './plain/save-vit.ts';
export {
  createPredictor,
  type Prediction,
  type PredictOptions,
  type Predictor,
  type PredictRequest,
} from './predictor/create-predictor.ts';
export {
  type ImageEmbedding,
  loadEmbedding,
  type SerializeEmbeddingOptions,
  saveEmbedding,
  serializeEmbedding,
} from './predictor/image-embedding.ts';
export type { ImagePrompts } from './predictor/image-prompts.ts';
export { type Preprocessed, preprocess } from './preprocess.ts';
export { type SamPreset, samPresets } from './presets.ts';
export { encodePrompts, type PromptFeatures, type Prompts } from './prompt-encoder.ts';
export { resizeSam } from './resize-sam.ts';
