import {
  type Axes,
  checkFields,
  dims,
  disposeWeights,
  type OpenOptions,
  openTensors,
  printable,
  requireBackend,
  type Source,
  type TensorFile,
  type Weights,
} from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { partName } from '../checkpoint/names.ts';
import { vitAxes } from './axes.ts';
import type { VitConfig } from './config.ts';
import { checkHeads, patchGrid, vitDepth } from './features.ts';
import { recogniseVit, type VitNaming } from './names.ts';
import { readVitConfig } from './read-vit-config.ts';

export interface LoadVitOptions extends OpenOptions {
  /** Fields that are known better than the file, its config.json or its shapes tell. */
  readonly config?: Partial<VitConfig>;
}

/** How a weight stands in the file that it was loaded from. */
export interface Origin {
  /** Its name there, or the three of q, k and v. */
  readonly names: readonly string[];
  /** Its number of axes there: CLIP leaves out leading ones of 1. */
  readonly rank: number;
}

/** A plain ViT: what the functions of this package take. */
export interface Vit {
  /** timm's names, q, k and v fused. */
  readonly weights: Weights;
  readonly config: VitConfig;
  /** Where `saveVit` writes the weights back to, by name; the names above where there is none. */
  readonly origins?: Readonly<Record<string, Origin>>;
}

export interface LoadedVit extends Vit {
  readonly origins: Readonly<Record<string, Origin>>;
  /** Names in the file that do not belong to the ViT, like CLIP's text model. */
  readonly ignored: readonly string[];
}

/**
 * Loads a plain ViT under timm's names, whatever its file calls them: timm's and Meta's DINOv2 checkpoints, transformers' ViTModel,
 * ViTForImageClassification, Dinov2Model (with registers too), CLIPVisionModel and whole CLIPModels. Recognises the family by names,
 * sizes by shapes, and the rest by config.json where a folder is given (see `VitConfig` for what can be given instead).
 *
 * @param source a path of a safetensors or PyTorch file, a folder, an http(s) address (of a folder: with a '/' at its end), or bytes
 * @throws when the source is not there or damaged, holds no such ViT (naming what was found), a weight is missing, unknown or misshapen,
 *   or the config does not fit the shapes
 */
export async function loadVit(source: Source, options: LoadVitOptions = {}): Promise<LoadedVit> {
  checkFields('loadVit', { options }, { options: 'object?' });
  requireBackend('loadVit');
  const file = await openTensors(source, options);
  const weights: Record<string, tf.Tensor> = {};
  try {
    const naming = recogniseVit(Object.keys(file.tensors), file.name);
    const { origins, shapes, ignored } = findWeights(file, naming);
    checkComplete(shapes, file.name);
    const config = await readVitConfig(file, { spelling: naming.spelling, shapes, given: options.config ?? {} });
    checkShapes(shapes, config, file.name);
    for (const [name, { names }] of Object.entries(origins)) {
      weights[name] = await read(file, names, shapes[name]!.shape);
    }
    return { weights, config, origins, ignored };
  } catch (error) {
    disposeWeights(weights);
    throw error;
  } finally {
    await file.close();
  }
}

type Shapes = Record<string, { shape: readonly number[] }>;

/** The weights in the file's order by our names, their places in the file and their shapes. */
function findWeights(
  file: TensorFile,
  { place }: VitNaming,
): { origins: Record<string, Origin>; shapes: Shapes; ignored: string[] } {
  const found = new Map<string, (string | undefined)[]>();
  const ignored: string[] = [];
  const unknown: string[] = [];
  for (const name of Object.keys(file.tensors)) {
    const at = place(name);
    if (at === 'outside') ignored.push(name);
    else if (at === 'unknown') unknown.push(name);
    else if (at.part === undefined) found.set(at.weight, [name]);
    else {
      const parts = found.get(at.weight) ?? [undefined, undefined, undefined];
      parts[at.part] = name;
      found.set(at.weight, parts);
    }
  }
  if (unknown.some((name) => /\.rel_pos_[hw]$|(^|\.)neck\./.test(name)))
    throw new Error(
      `loadVit: expected the weights of a plain ViT in ${file.name}, got SAM's image encoder (${some(unknown)}); loadSam takes it, with part: 'encoder' if it is alone`,
    );
  if (unknown.length > 0)
    throw new Error(
      `loadVit: expected the weights of a plain ViT in ${file.name}, got ${some(unknown)} too; models with such parts are not supported`,
    );
  const origins: Record<string, Origin> = {};
  const shapes: Shapes = {};
  for (const [weight, parts] of found) {
    const names = completeParts(file, weight, parts);
    const first = file.tensors[names[0]!]!.shape;
    const leading = /^(cls_token|pos_embed)$/.test(weight) ? 3 - first.length : 0;
    const shape = [...Array<number>(leading).fill(1), ...first];
    origins[weight] = { names, rank: first.length };
    shapes[weight] = { shape: [shape[0]! * names.length, ...shape.slice(1)] };
  }
  return { origins, shapes, ignored };
}

/** The names of a weight's parts in the file. @throws when q, k or v is missing, or has another shape than the others */
function completeParts(file: TensorFile, weight: string, parts: readonly (string | undefined)[]): string[] {
  const shapes = parts.map((name) => name && `[${file.tensors[name]!.shape.join(', ')}]`);
  const names = parts.filter((name) => name !== undefined);
  if (names.length === parts.length && new Set(shapes).size === 1) return names;
  const words = shapes.map((shape, part) => `'${partName(weight, part)}' ${shape ?? 'none'}`).join(', ');
  throw new Error(`loadVit: expected q, k and v of one shape in ${file.name}, got ${words}; prune them together`);
}

/** @throws when a weight that all of these models have is missing, or one that the other blocks have */
function checkComplete(shapes: Shapes, source: string): void {
  const ofBlock = (name: string) => /^blocks\.(\d+)\.(.*)$/.exec(name);
  const names = Object.keys(shapes);
  const depth = 1 + Math.max(0, ...names.map((name) => Number(ofBlock(name)?.[1] ?? 0)));
  const kinds = new Set([
    ...['norm1.weight', 'norm1.bias', 'attn.qkv.weight', 'attn.proj.weight', 'attn.proj.bias', 'norm2.weight'],
    ...['norm2.bias', 'mlp.fc1.weight', 'mlp.fc1.bias', 'mlp.fc2.weight', 'mlp.fc2.bias'],
    ...names.flatMap((name) => ofBlock(name)?.[2] ?? []),
  ]);
  const wanted = [
    ...['cls_token', 'pos_embed', 'patch_embed.proj.weight', 'norm.weight', 'norm.bias'],
    ...Array.from({ length: depth }, (_, i) => [...kinds].map((kind) => `blocks.${i}.${kind}`)).flat(),
  ];
  const missing = wanted.filter((name) => !(name in shapes));
  if (missing.length === 0) return;
  throw new Error(
    `loadVit: expected ${some(missing)} (timm's names) in ${source}, got ${names.length} weights without; is it truncated, or a ViT without a class token?`,
  );
}

/** @throws when a shape disagrees with the others or with the config */
function checkShapes(shapes: Shapes, config: VitConfig, source: string): void {
  const axes: Axes = vitAxes(shapes, config);
  try {
    for (let i = 0; i < vitDepth(shapes); i++) checkHeads(shapes, config, i);
    dims(axes, shapes);
  } catch (error) {
    throw new Error(`loadVit: misshapen weights in ${source}: ${(error as Error).message}`, { cause: error });
  }
  const kernel = shapes['patch_embed.proj.weight']!.shape;
  const [h, w] = patchGrid(shapes, [1, kernel[1]!, ...config.imageSize]);
  const length = shapes.pos_embed!.shape[1]!;
  if (length === h * w || length === h * w + 1) return;
  throw new Error(
    `loadVit: expected 'pos_embed' of ${h * w} or ${h * w + 1} positions for images of ${config.imageSize.join(' x ')} in ${source}, got ${length}; give config: { imageSize: [height, width] }`,
  );
}

/** Reads a weight, or q, k and v below one another. */
async function read(file: TensorFile, names: readonly string[], shape: readonly number[]): Promise<tf.Tensor> {
  const parts: Float32Array[] = [];
  for (const name of names) {
    const { data, dtype } = await file.read(name);
    if (!(data instanceof Float32Array))
      throw new Error(`loadVit: expected '${name}' of ${file.name} as floats, got ${dtype}; save it as F32 or F16`);
    parts.push(data);
  }
  if (parts.length === 1) return tf.tensor(parts[0]!, [...shape], 'float32');
  return tf.tidy(() => tf.reshape(tf.concat(parts.map((part) => tf.tensor1d(part))), [...shape]));
}

function some(names: readonly string[]): string {
  const more = names.length > 4 ? ` and ${names.length - 4} more` : '';
  return `${names
    .slice(0, 4)
    .map((name) => `'${printable(name)}'`)
    .join(', ')}${more}`;
}
