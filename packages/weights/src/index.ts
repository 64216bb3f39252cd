export { type Axes, type Axis, type Dimension, dims, linear, type Member, type Product, partsOf } from './axes.ts';
export { checkFields } from './check-fields.ts';
export type { Attention, Costs } from './costs.ts';
export type { FileContent, FileTarget, WritableFile } from './file-target.ts';
export {
  type ExpectedShapes,
  type LoadedWeights,
  loadWeights,
  parseWeights,
  readSafetensors,
  saveWeights,
  writeFileAtomic,
} from './files.ts';
export { listIssues, printable } from './formats/printable.ts';
export type { RawTensor } from './formats/raw-tensor.ts';
export { encodeTensor, parseSafetensors, type Safetensors, serializeSafetensors } from './formats/safetensors.ts';
export { type ValueAndGradients, valueAndGradients } from './gradients.ts';
export { makeFolder } from './make-folder.ts';
export { type OpenTensorsOptions, openTensors, type Source } from './open-tensors.ts';
export { randomGenerator, scrambled } from './random-generator.ts';
export { recomputed } from './recomputed.ts';
export { requireBackend } from './require-backend.ts';
export type { FileSource, OpenOptions, Progress } from './sources/byte-source.ts';
export type { HubSource } from './sources/hub-source.ts';
export { openRegularFile, readTextFile } from './sources/regular-file.ts';
export type { Attribute, TensorFile } from './tensor-file.ts';
export { truncatedNormal } from './truncated-normal.ts';
export { disposeWeights, type Scope, scope, type Weights } from './weights.ts';
