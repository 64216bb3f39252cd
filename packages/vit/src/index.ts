export type { EncodeOptions } from './blocks.ts';
export { type LoadedSam, type LoadSamOptions, loadSam, type Sam } from './checkpoint/load-sam.ts';
export type { SamPart } from './checkpoint/names.ts';
export { type SaveSamOptions, saveSam } from './checkpoint/save-sam.ts';
export { labelMap } from './everything/label-map.ts';
export type { EverythingOptions, EverythingProgress } from './everything/options.ts';
export { type EncodeMask, type EverythingMask, segmentEverything } from './everything/segment-everything.ts';
export { halfPrecision } from './half-precision.ts';
export { decodeImage, type ReadImageFolderOptions, readImageFolder } from './images/image.ts';
export type { ImagePixels } from './images/image-pixels.ts';
export type { DecodeImageOptions, ImageSource } from './images/image-source.ts';
export { maskPng, type OverlayOptions, overlayPng } from './images/mask-png.ts';
export { type Preprocessed, preprocess } from './images/preprocess.ts';
export type { RgbImage } from './images/rgb-image.ts';
export { vitAxes, vitCosts, vitTapAxes } from './plain/axes.ts';
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
  type EmbeddedImage,
  type ImageEmbedding,
  loadEmbedding,
  type SerializeEmbeddingOptions,
  saveEmbedding,
  serializeEmbedding,
} from './predictor/image-embedding.ts';
export type { ImagePrompts } from './predictor/image-prompts.ts';
export { encoderAxes, encoderCosts, encoderTapAxes } from './sam/axes.ts';
export { withAxisFrequencies } from './sam/axis-frequencies.ts';
export { keepBlocks, parseSamConfig, type SamConfig } from './sam/config.ts';
export {
  type BlockFeatures,
  bottleneckTaps,
  embeddingTaps,
  encodeImage,
  encoderBlock,
  type ImageFeatures,
  imageNeck,
} from './sam/encoder.ts';
export { type SamFromVitOptions, samFromVit } from './sam/from-vit.ts';
export { initSam, type SamSizes, samWeightShapes } from './sam/init.ts';
export { decodeMasks, type MaskInputs, type Masks } from './sam/mask-decoder.ts';
export { type SamPreset, samPresets } from './sam/presets.ts';
export { encodePrompts, type PromptFeatures, type Prompts } from './sam/prompt-encoder.ts';
export { resizeSam } from './sam/resize-sam.ts';
export { withSideHeads } from './sam/side-heads.ts';
