export { type ImageConvention, type OnnxConvention, onnxConventions, type PromptConvention } from './conventions.ts';
export { type OnnxModel, type OnnxOptions, openOnnx } from './open-onnx.ts';
