export { type Axes, type Axis, type Dimension, dims, factorsOf, linear, type Member } from './axes.ts';
export type { FileSource, OpenOptions, Progress } from './byte-source.ts';
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
export { type ValueAndGradients, valueAndGradients } from './gradients.ts';
export type { HubSource } from './hub-source.ts';
export {
  encodeTensor,
  parseSafetensors,
  type RawTensor,
  type Safetensors,
  serializeSafetensors,
} from './safetensors.ts';
export { type Attribute, type OpenTensorsOptions, openTensors, type Source, type TensorFile } from './tensor-file.ts';
export { disposeWeights, type Scope, scope, type Weights } from './weights.ts';
