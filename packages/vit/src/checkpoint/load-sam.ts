import {
  checkFields,
  disposeWeights,
  type OpenOptions,
  openTensors,
  printable,
  type RawTensor,
  requireBackend,
  type Source,
  type TensorFile,
  type Weights,
} from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { parseSamConfig, type SamConfig } from '../sam/config.ts';
import { checkSamProcessor, readHuggingFaceConfig } from './hugging-face-config.ts';
import { inferConfig } from './infer-config.ts';
import { huggingFaceCopy, type Naming, ofPart, partName, recogniseNames, type SamPart } from './names.ts';
import { readProcessor } from './read-processor.ts';
import { readWidths, samShapes } from './sam-shapes.ts';

/** Starts of the class names that SAM's and SlimSAM's whole modules have. */
const allowed = ['segment_anything.modeling.', 'segment_anything_kd.modeling.'];

export interface LoadSamOptions extends OpenOptions {
  /** Fields that are known better than the file or its shapes tell, like `decoderHeads` other than 8. */
  config?: Partial<SamConfig>;
  /** The model of a file that holds several: what its names start with, like 'model_ema.'. */
  prefix?: string;
  /** Only the weights that `embed` needs, or only those that `predict` needs; others are neither read nor missed. */
  part?: SamPart;
  /** false: loads what fits and lists the rest in `problems`. By default anything missing, extra or misshapen throws. */
  strict?: boolean;
  /** true: throws at the first tensor that has a NaN or an infinity. */
  check?: boolean;
}

/** A SAM: what every function of this package takes. */
export interface Sam {
  /** Meta's names, q, k and v fused. */
  weights: Weights;
  config: SamConfig;
}

export interface LoadedSam extends Sam {
  /** Objects of unknown classes beside the weights of a PyTorch file, as 'name: class'; they were left alone. */
  opaque: readonly string[];
  /** What did not fit, in words with both shapes; empty when strict. */
  problems: readonly string[];
}

/** A weight of the checkpoint: the tensors it is joined from, and its shape. */
interface Found {
  parts: string[];
  shape: readonly number[];
}

/**
 * Loads a SAM, whatever it is saved as: Meta's .pth or safetensors, a Hugging Face SamModel folder (sharded too), SlimSAM's split
 * q, k and v, or a pruned SlimSAM pickled as a whole object; float32, float16 or bfloat16. Nothing in a pickle is ever executed.
 * An image encoder's own state dict, without any prefix, loads with `part: 'encoder'`.
 * Tensors are read one by one, so no more than one of them is held beside the weights; a zip or safetensors file of a web server
 * without range requests is held whole.
 *
 * What shapes cannot tell is taken from the file's metadata (`saveSam` writes it), a whole module's fields, or a config.json in the
 * folder or beside the file.
 *
 * Where a pruned model's blocks scale their attention by other head widths than the config's, q takes the factor
 * sqrt(config.headWidth / width) and the relative positions, which meet the unscaled q, its inverse. A block's width is that of its
 * own heads, as in SAM and SlimSAM; files of `saveSam` say it, for weights that `prune` cut and `saveWeights` wrote give
 * `config: { headWidth }`.
 *
 * @param source a path, an http(s) address (of a folder: with a '/' at its end), the file's bytes, or a model of the Hugging Face Hub:
 *   `{ hub: 'owner/name' }`, or that id alone where no such path exists. Those are downloaded once (by the optional package
 *   @huggingface/hub) and tell their progress twice, as they are downloaded and as they are read
 * @throws when the source is not there, truncated, damaged, not a SAM, or asks for code; when weights are missing, extra or
 *   misshapen (named with both shapes), unless `strict: false`; when a value is not finite, if `check: true`
 */
export async function loadSam(source: Source, options: LoadSamOptions = {}): Promise<LoadedSam> {
  checkFields('loadSam', { options }, { options: 'object?' });
  requireBackend('loadSam');
  const file = await openTensors(source, { ...options, allowed });
  const weights: Record<string, tf.Tensor> = {};
  try {
    const naming = recogniseNames(Object.keys(file.tensors), { source: file.name, ...options });
    const found = findWeights(file, naming);
    const widths = readWidths(Object.fromEntries(found));
    const expected = Object.fromEntries(ofPart(Object.entries(samShapes(widths)), options.part));
    const { fitting, problems } = compare(new Map(ofPart(found, options.part)), expected);
    if (problems.length > 0 && options.strict !== false) throw misfit(problems, file.name);
    const given = { ...(await knownConfig(file, naming, widths.grid * widths.patchSize)), ...options.config };
    const { config, scaleWidths, decoderHeadsTold } = inferConfig(widths, given, fieldsOf(file, naming));
    if (!decoderHeadsTold && options.part !== 'encoder')
      console.warn(
        `loadSam: nothing tells how many attention heads the mask decoder in ${file.name} has, and it is ${widths.prompt} wide, not 256 as SAM's; 8 are taken. Give config: { decoderHeads }, or a config.json beside it`,
      );

    const shape = (name: string) => found.get(name)!.shape;
    await readInOrder(file, new Map(fitting.map((name) => [name, found.get(name)!.parts])), (name, parts) => {
      const values = joinValues(parts);
      if (options.check) checkFinite(name, values, file.name);
      const block = /^image_encoder\.blocks\.(\d+)\.attn\./.exec(name);
      const factor = block ? Math.sqrt(config.headWidth / scaleWidths[Number(block[1])]!) : 1;
      const queryShare = block ? widths.blocks[Number(block[1])]!.inner / shape(name)[0]! : 0;
      const data = rescale(name, values, { factor, queryShare });
      weights[name] = tf.tensor(data, [...shape(name)], 'float32');
    });
    return {
      weights: Object.fromEntries(fitting.map((name) => [name, weights[name]!])),
      config,
      problems,
      opaque: file.opaque,
    };
  } catch (error) {
    disposeWeights(weights);
    throw error;
  } finally {
    await file.close();
  }
}

/** The weights of a checkpoint by Meta's names, and everything else that its SAM's prefix holds. */
function findWeights(file: TensorFile, { place }: Naming): Map<string, Found> {
  const found = new Map<string, Found>();
  for (const [name, { shape }] of Object.entries(file.tensors)) {
    const at = place(name);
    if (!at || /^pixel_(mean|std)$/.test(at.weight)) continue;
    const known = found.get(at.weight);
    if (at.part === undefined) found.set(at.weight, { parts: [name], shape });
    else if (known) known.parts[at.part] = name;
    else
      found.set(at.weight, {
        parts: Object.assign([], { [at.part]: name }),
        shape: [3 * shape[0]!, ...shape.slice(1)],
      });
  }
  dropCopy(found);
  for (const [weight, { parts }] of found) {
    if (parts.length === 1 && parts[0] !== undefined && place(parts[0])?.part === undefined) continue;
    const shapes = [0, 1, 2].map((part) => (parts[part] ? file.tensors[parts[part]]!.shape : undefined));
    if (shapes.every((shape) => shape?.join() === shapes[0]?.join())) continue;
    const words = shapes.map((shape, part) => `'${partName(weight, part)}' ${inBrackets(shape)}`).join(', ');
    throw new Error(`loadSam: expected q, k and v of one shape in ${file.name}, got ${words}; prune them together`);
  }
  return found;
}

/** Hugging Face ties the Gaussian matrix under two names, and a safetensors file holds either or both. */
function dropCopy(found: Map<string, Found>): void {
  const gaussian = 'prompt_encoder.pe_layer.positional_encoding_gaussian_matrix';
  const copy = found.get(huggingFaceCopy);
  if (!copy) return;
  if (!found.has(gaussian)) found.set(gaussian, copy);
  found.delete(huggingFaceCopy);
}

/** Fields of a pickled module by Meta's names. */
function fieldsOf(file: TensorFile, { place }: Naming): Map<string, string | number | boolean> {
  const entries = Object.entries(file.attributes).flatMap(([name, value]) => {
    const at = place(name);
    return at ? [[at.weight, value] as const] : [];
  });
  return new Map(entries);
}

/**
 * What the checkpoint says of its config in so many words: its own metadata, else config.json in its folder or beside it (ours, as
 * `saveSam` would write it, or Hugging Face's). Another program's config.json is passed over.
 */
async function knownConfig(file: TensorFile, { names, place }: Naming, imageSize: number): Promise<Partial<SamConfig>> {
  const { sam_config: own } = file.metadata;
  if (own !== undefined) return ownConfig(own, file.name);
  const json = await file.json('config.json');
  const has = (field: string) => typeof json === 'object' && json !== null && field in json;
  if (has('patchSize')) return parseSamConfig(json);
  if (json !== undefined && (names === 'hugging-face' || has('vision_config'))) {
    const processor = await readProcessor(file, 'loadSam');
    if (processor && !Number.isNaN(imageSize)) checkSamProcessor(processor, imageSize);
    return readHuggingFaceConfig(json, processor, file.name);
  }
  const known: Record<string, number[]> = {};
  for (const name of Object.keys(file.tensors)) {
    const field = { pixel_mean: 'pixelMean', pixel_std: 'pixelStd' }[place(name)?.weight ?? ''];
    // float32 of 123.675 and the like: seven digits are what was meant
    if (field) known[field] = Array.from((await file.read(name)).data, (value) => Number(value.toPrecision(7)));
  }
  return known;
}

/** The config that `saveSam` left in the metadata. */
function ownConfig(text: string, source: string): SamConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`loadSam: expected JSON as sam_config of ${source}, got '${text.slice(0, 40)}'`, { cause: error });
  }
  return parseSamConfig(json);
}

function compare(
  found: ReadonlyMap<string, Found>,
  expected: Readonly<Record<string, readonly number[]>>,
): { fitting: string[]; problems: string[] } {
  const fitting: string[] = [];
  const problems: string[] = [];
  for (const [name, shape] of Object.entries(expected)) {
    const got = found.get(name)?.shape;
    const fits = got?.length === shape.length && got.every((size, axis) => size === shape[axis]);
    if (fits) fitting.push(name);
    else problems.push(`'${name}' ${inBrackets(shape)}, got ${inBrackets(got)}`);
  }
  for (const [name, { shape }] of found) {
    if (!Object.hasOwn(expected, name)) problems.push(`no '${name}', got ${inBrackets(shape)}`);
  }
  return { fitting, problems };
}

function misfit(problems: readonly string[], source: string): Error {
  const more = problems.length > 5 ? `; and ${problems.length - 5} more` : '';
  return new Error(
    printable(
      `loadSam: in ${source} expected ${problems.slice(0, 5).join('; ')}${more}; strict: false loads what fits`,
    ),
  );
}

/** Sizes that nothing in the file tells are '?'. */
function inBrackets(shape: readonly number[] | undefined): string {
  return shape ? `[${shape.map((size) => (Number.isNaN(size) ? '?' : size)).join(', ')}]` : 'none';
}

/** Reads the parts of the wanted weights in the file's order, and hands each weight on when it is complete. */
async function readInOrder(
  file: TensorFile,
  wanted: ReadonlyMap<string, readonly string[]>,
  use: (weight: string, parts: RawTensor['data'][]) => void,
): Promise<void> {
  const owner = new Map([...wanted].flatMap(([weight, parts]) => parts.map((part) => [part, weight] as const)));
  const waiting = new Map<string, Map<string, RawTensor['data']>>();
  for (const name of Object.keys(file.tensors)) {
    const weight = owner.get(name);
    if (weight === undefined) continue;
    const parts = wanted.get(weight)!;
    const read = waiting.get(weight) ?? new Map<string, RawTensor['data']>();
    read.set(name, (await file.read(name)).data);
    waiting.set(weight, read);
    if (read.size < parts.length) continue;
    waiting.delete(weight);
    use(
      weight,
      parts.map((part) => read.get(part)!),
    );
  }
}

/** Rows of q, k and v below one another, as floats. */
function joinValues(parts: readonly RawTensor['data'][]): Float32Array {
  if (parts.length === 1) return parts[0] instanceof Float32Array ? parts[0] : Float32Array.from(parts[0]!);
  const joined = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let end = 0;
  for (const part of parts) {
    joined.set(part, end);
    end += part.length;
  }
  return joined;
}

function checkFinite(name: string, data: Float32Array, source: string): void {
  let [nans, infinities, first] = [0, 0, -1];
  for (let i = 0; i < data.length; i++) {
    if (Number.isFinite(data[i])) continue;
    if (first < 0) first = i;
    if (Number.isNaN(data[i])) nans++;
    else infinities++;
  }
  if (first < 0) return;
  throw new Error(
    `loadSam: expected finite values in '${name}' of ${source}, got ${nans} NaN and ${infinities} infinite of ${data.length}, the first at ${first}; train or save it again`,
  );
}

/** q times a factor, relative positions divided by it. */
function rescale(
  name: string,
  data: Float32Array,
  { factor, queryShare }: { factor: number; queryShare: number },
): Float32Array {
  if (factor === 1) return data;
  if (/\.rel_pos_[hw]$/.test(name)) return data.map((value) => value / factor);
  if (!/\.qkv\.(weight|bias)$/.test(name)) return data;
  const query = Math.round(data.length * queryShare);
  return data.map((value, i) => (i < query ? value * factor : value));
}
