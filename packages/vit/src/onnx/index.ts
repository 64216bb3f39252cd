export { type ExportOnnxOptions, exportOnnx } from './export-onnx.ts';
export type { WritableFolder } from './write-folder.ts';
