export { type OnnxConvention, onnxConventions } from './conventions.ts';
export { type FastSamOptions, openFastSam } from './fast-sam.ts';
export { type OnnxModel, type OnnxOptions, openOnnx } from './open-onnx.ts';
export { type OnnxPathModel, openOnnxPath } from './open-onnx-path.ts';
