export { type Axes, type Axis, type Dimension, dims, factorsOf, linear, type Member } from './axes.ts';
export type { OpenOptions, Progress, Source } from './byte-source.ts';
export type { Attention, Costs } from './costs.ts';
export {
  type ExpectedShapes,
  type LoadedWeights,
  loadWeights,
  parseWeights,
  readSafetensors,
  saveWeights,
  writeFileAtomic,
} from './files.ts';
export { parseSafetensors, type RawTensor, type Safetensors, serializeSafetensors } from './safetensors.ts';
export { type Attribute, type OpenTensorsOptions, openTensors, type TensorFile } from './tensor-file.ts';
export { disposeWeights, type Scope, scope, type Weights } from './weights.ts';
