import { type Weights, writeFileAtomic } from '@slimsam/weights';
import type { Sam } from '../checkpoint/load-sam.ts';
import { readWidths, samShapes } from '../checkpoint/sam-shapes.ts';
import { gridSize, parseSamConfig, type SamConfig } from '../config.ts';
import type { Float, GraphRecord } from './graph.ts';
import { encodeModel, readParts } from './model-proto.ts';
import { decoderOf, encoderOf } from './segment-anything.ts';
import { promptDecoderOf, transformersJsConfigs, visionEncoderOf } from './transformers-js.ts';

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

/** A file to write: its path below the folder, and its bytes. */
interface OutputFile {
  readonly path: string;
  readonly content: string | (() => AsyncIterable<Uint8Array>);
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
 * @returns the paths written
 * @throws when an option or the config is none of those above, weights are missing or misshapen (named with both shapes), a weight is beyond
 *   F16's +-65504, or the folder cannot be written; then nothing is left behind and older files stay
 */
export async function exportOnnx(folder: string, sam: Sam, options: ExportOnnxOptions = {}): Promise<string[]> {
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

/** The weights are those of a whole SAM, of shapes that fit each other and the config. */
function checkWeights(weights: Weights, config: SamConfig): void {
  const widths = readWidths(weights);
  const problems = Object.entries(samShapes(widths)).flatMap(([name, shape]) => {
    const got = weights[name]?.shape;
    return got?.join() === shape.join()
      ? []
      : [`'${name}' [${shape.join(', ')}], got ${got ? `[${got.join(', ')}]` : 'none'}`];
  });
  const fits = (what: string, expected: number, got: number) => {
    if (expected !== got) problems.push(`${what} ${expected} as the config says, got ${got}`);
  };
  if (problems.length === 0) {
    fits('patches of', config.patchSize, widths.patchSize);
    fits('a grid of', gridSize(config), widths.grid);
    widths.blocks.forEach(({ inner, head, side }, i) => {
      fits(
        `relative positions of block ${i} for windows of`,
        config.globalBlocks.includes(i) ? gridSize(config) : config.windowSize,
        side,
      );
      fits(`q of block ${i} of`, config.heads * head, inner);
    });
    if (widths.blocks.length === 0) problems.push('blocks of an image encoder, got none');
  }
  if (problems.length === 0) return;
  const more = problems.length > 5 ? `; and ${problems.length - 5} more` : '';
  throw new Error(
    `exportOnnx: expected ${problems.slice(0, 5).join('; ')}${more}; loadSam loads a whole SAM with its config`,
  );
}

/** Writes all files or none: into a temporary folder inside of the folder, then each to its place. */
async function writeFolder(folder: string, files: readonly OutputFile[]): Promise<string[]> {
  const { mkdir, mkdtemp, rename, rm } = await import('node:fs/promises');
  const { dirname, join } = await import('node:path');
  let made: string | undefined;
  try {
    made = await mkdir(folder, { recursive: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new Error(`exportOnnx: expected to make the folder '${folder}', got ${reason}`, { cause: error });
  }
  let temporary: string | undefined;
  try {
    temporary = await mkdtemp(join(folder, '.onnx-'));
    for (const { path, content } of files) {
      await mkdir(dirname(join(temporary, path)), { recursive: true });
      await writeFileAtomic(join(temporary, path), typeof content === 'string' ? content : content());
    }
    for (const { path } of files) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await rename(join(temporary, path), join(folder, path));
    }
  } catch (error) {
    if (made) await rm(made, { recursive: true, force: true });
    throw error;
  } finally {
    if (temporary) await rm(temporary, { recursive: true, force: true });
  }
  return files.map(({ path }) => join(folder, path));
}
