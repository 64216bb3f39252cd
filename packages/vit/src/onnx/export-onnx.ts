import { checkFields, type Weights } from '@slimsam/weights';
import type { Sam } from '../checkpoint/load-sam.ts';
import { parseSamConfig, type SamConfig } from '../sam/config.ts';
import { checkWeights } from './check-weights.ts';
import type { Float, GraphRecord } from './graph.ts';
import { encodeModel, readParts } from './model-proto.ts';
import { decoderOf, encoderOf } from './segment-anything.ts';
import { promptDecoderOf, transformersJsConfigs, visionEncoderOf } from './transformers-js.ts';
import { type OutputFile, type WritableFolder, writeFolder } from './write-folder.ts';

/** Options of `exportOnnx`. */
export interface ExportOnnxOptions {
  /** 'segment-anything' (the default): encoder.onnx, decoder.onnx. 'transformers.js': a folder for its SamModel. */
  readonly convention?: 'segment-anything' | 'transformers.js';
  /** Of weights and activations, by default F32. Inputs and outputs are always float32. */
  readonly dtype?: Float;
  /** With segment-anything's decoder: one mask for each prompt, chosen by the number of points and the scores. By default all four. */
  readonly singleMask?: boolean;
  /** Bytes from which a model's weights go to a file beside it, NAME.onnx_data; by default the 2 GB that protobuf can hold. */
  readonly externalDataFrom?: number;
}

/** protobuf's limit. */
const twoGigabytes = 2 ** 31 - 1;

/**
 * Writes a SAM, pruned or not, as two ONNX models, an image encoder and a prompt encoder with mask decoder, for onnxruntime 1.12 and later.
 * Nodes and weights have checkpoint names. Weights are read one by one while they are written.
 *
 * - 'segment-anything': encoder.onnx (image [batch, 3, S, S], normalised and padded -> image_embeddings) and decoder.onnx with the inputs
 *   and outputs of segment_anything/utils/onnx.py; F16: encoder_fp16.onnx, decoder_fp16.onnx.
 * - 'transformers.js': config.json, preprocessor_config.json, onnx/vision_encoder.onnx and onnx/prompt_encoder_mask_decoder.onnx (F16:
 *   with _fp16), for `SamModel.from_pretrained(folder)`. A box is two points labelled 2 and 3.
 *
 * In F16 files places of points, means and variances, and the resizing of masks stay float32.
 *
 * @param folder a path in Node, a directory's handle in browsers
 * @returns the paths written
 * @throws when an option or the config is none of those above, weights are missing or misshapen (named with both shapes), a weight is beyond
 *   F16's +-65504, or the folder cannot be written; then nothing is left behind and older files stay, but for a browser's folder, where
 *   the files before the one that failed are written already
 */
export async function exportOnnx(
  folder: string | WritableFolder,
  sam: Sam,
  options: ExportOnnxOptions = {},
): Promise<string[]> {
  if (typeof folder !== 'string')
    checkFields('exportOnnx', folder, { getFileHandle: 'function', getDirectoryHandle: 'function' });
  checkFields('exportOnnx', { options }, { options: 'object' });
  checkFields('exportOnnx', sam, { weights: 'object', config: 'object' });
  const { convention = 'segment-anything', dtype = 'F32', singleMask, externalDataFrom = twoGigabytes } = options;
  oneOf('convention', convention, ['segment-anything', 'transformers.js']);
  oneOf('dtype', dtype, ['F32', 'F16']);
  if (singleMask !== undefined && convention === 'transformers.js') {
    throw new Error(
      "exportOnnx: expected singleMask with convention: 'segment-anything' only; transformers.js has none",
    );
  }
  if (!(externalDataFrom >= 0 && externalDataFrom <= twoGigabytes)) {
    throw new Error(`exportOnnx: expected externalDataFrom from 0 to ${twoGigabytes} bytes, got ${externalDataFrom}`);
  }
  const config = parseSamConfig(sam.config);
  checkWeights(sam.weights, config);
  const metadata = { sam_config: JSON.stringify(config) };
  const modelFiles = (models: [string, GraphRecord][]): OutputFile[] =>
    models
      .flatMap(([name, record]) => encodeModel(name, record, { metadata, limit: externalDataFrom }))
      .map(({ name, parts }) => ({ path: name, content: () => readParts(parts) }));
  const files =
    convention === 'segment-anything'
      ? modelFiles(segmentAnythingModels(sam.weights, config, { float: dtype, singleMask: singleMask ?? false }))
      : transformersJsFiles(sam.weights, config, { dtype, modelFiles });
  return writeFolder(folder, files);
}

function segmentAnythingModels(
  weights: Weights,
  config: SamConfig,
  options: { float: Float; singleMask: boolean },
): [string, GraphRecord][] {
  const suffix = options.float === 'F16' ? '_fp16' : '';
  return [
    [`encoder${suffix}.onnx`, encoderOf(weights, config, options.float)],
    [`decoder${suffix}.onnx`, decoderOf(weights, config, options)],
  ];
}

function transformersJsFiles(
  weights: Weights,
  config: SamConfig,
  { dtype, modelFiles }: { dtype: Float; modelFiles: (models: [string, GraphRecord][]) => OutputFile[] },
): OutputFile[] {
  const ofType = (float: Float) => {
    const suffix = float === 'F16' ? '_fp16' : '';
    return modelFiles([
      [`vision_encoder${suffix}.onnx`, visionEncoderOf(weights, config, float)],
      [`prompt_encoder_mask_decoder${suffix}.onnx`, promptDecoderOf(weights, config, float)],
    ]);
  };
  // config.json serves the files of both types, whichever are written
  const files = { F32: ofType('F32'), F16: ofType('F16') };
  const external = [...files.F32, ...files.F16].flatMap(({ path }) => /^(.*)_data$/.exec(path)?.[1] ?? []);
  const configs = Object.entries(transformersJsConfigs(weights, config, external));
  return [
    ...configs.map(([path, json]) => ({ path, content: `${JSON.stringify(json, null, 2)}\n` })),
    ...files[dtype].map(({ path, content }) => ({ path: `onnx/${path}`, content })),
  ];
}

function oneOf(name: string, got: string, expected: readonly string[]): void {
  if (expected.includes(got)) return;
  throw new Error(`exportOnnx: expected ${name} ${expected.map((value) => `'${value}'`).join(' or ')}, got '${got}'`);
}
