import { printable } from '@slimsam/weights';

/** Starts of names that differ: Meta's (segment-anything) and Hugging Face's (SamModel). `#` is a number. */
const pairs: readonly (readonly [meta: string, huggingFace: string])[] = [
  ['image_encoder.pos_embed', 'vision_encoder.pos_embed'],
  ['image_encoder.patch_embed.proj.', 'vision_encoder.patch_embed.projection.'],
  ['image_encoder.blocks.#.norm', 'vision_encoder.layers.#.layer_norm'],
  ['image_encoder.blocks.#.', 'vision_encoder.layers.#.'],
  ['image_encoder.neck.0.', 'vision_encoder.neck.conv1.'],
  ['image_encoder.neck.1.', 'vision_encoder.neck.layer_norm1.'],
  ['image_encoder.neck.2.', 'vision_encoder.neck.conv2.'],
  ['image_encoder.neck.3.', 'vision_encoder.neck.layer_norm2.'],
  ['prompt_encoder.pe_layer.positional_encoding_gaussian_matrix', 'shared_image_embedding.positional_embedding'],
  ['prompt_encoder.point_embeddings.', 'prompt_encoder.point_embed.'],
  ['prompt_encoder.mask_downscaling.0.', 'prompt_encoder.mask_embed.conv1.'],
  ['prompt_encoder.mask_downscaling.1.', 'prompt_encoder.mask_embed.layer_norm1.'],
  ['prompt_encoder.mask_downscaling.3.', 'prompt_encoder.mask_embed.conv2.'],
  ['prompt_encoder.mask_downscaling.4.', 'prompt_encoder.mask_embed.layer_norm2.'],
  ['prompt_encoder.mask_downscaling.6.', 'prompt_encoder.mask_embed.conv3.'],
  ['mask_decoder.transformer.layers.#.norm', 'mask_decoder.transformer.layers.#.layer_norm'],
  ['mask_decoder.transformer.norm_final_attn.', 'mask_decoder.transformer.layer_norm_final_attn.'],
  ['mask_decoder.output_upscaling.0.', 'mask_decoder.upscale_conv1.'],
  ['mask_decoder.output_upscaling.1.', 'mask_decoder.upscale_layer_norm.'],
  ['mask_decoder.output_upscaling.3.', 'mask_decoder.upscale_conv2.'],
  ...['mask_decoder.output_hypernetworks_mlps.#', 'mask_decoder.iou_prediction_head'].flatMap((head) => [
    [`${head}.layers.0.`, `${head}.proj_in.`] as const,
    [`${head}.layers.1.`, `${head}.layers.0.`] as const,
    [`${head}.layers.2.`, `${head}.proj_out.`] as const,
  ]),
];

/** Hugging Face's second copy of the Gaussian matrix; its first is `shared_image_embedding.positional_embedding`. */
export const huggingFaceCopy = 'prompt_encoder.shared_embedding.positional_embedding';

const toMeta = pairs.map(([meta, huggingFace]) => rule(huggingFace, meta));
const toHuggingFace = pairs.map(([meta, huggingFace]) => rule(meta, huggingFace));

function rule(from: string, to: string): [RegExp, string] {
  return [new RegExp(`^${from.replaceAll('.', '\\.').replace('#', '(\\d+)')}`), to.replace('#', '$1')];
}

function rename(name: string, rules: readonly [RegExp, string][]): string {
  const found = rules.find(([start]) => start.test(name));
  return found ? name.replace(...found) : name;
}

/** The name that SamModel of Hugging Face's transformers gives a weight of Meta's. */
export function huggingFaceName(meta: string): string {
  return rename(meta, toHuggingFace);
}

/** Where a tensor of a checkpoint belongs. */
interface Place {
  /** Meta's name. */
  weight: string;
  /** 0, 1, 2 for q, k, v when they are split as in SlimSAM; else undefined for the whole weight. */
  part: number | undefined;
}

/** How a checkpoint names SAM's weights. */
export interface Naming {
  names: 'meta' | 'hugging-face';
  /** Gives the place of a tensor (or of a field of a module), undefined for what lies outside of the SAM. */
  place(name: string): Place | undefined;
}

/** Which model of a file is wanted. */
export interface WhichModel {
  /** The file's name, for errors. */
  readonly source: string;
  readonly prefix?: string;
  readonly part?: SamPart;
}

/**
 * Recognises a checkpoint's names: Meta's or Hugging Face's, below any prefix ('model.', 'module.', 'state_dict.'). An image encoder
 * alone may have lost its own 'image_encoder.'.
 *
 * @throws when there is neither the patch embedding of a SAM nor, of its decoder alone, the point embeddings; when there are several
 *   models and `prefix` chooses none
 */
export function recogniseNames(names: readonly string[], { source, prefix: wanted, part }: WhichModel): Naming {
  const first =
    /^(.*?)(image_encoder\.(?:module\.)?patch_embed\.proj|vision_encoder\.patch_embed\.projection|prompt_encoder\.point_embeddings\.0|prompt_encoder\.point_embed\.0)\.weight$/;
  const models = new Map<string, boolean>(); // prefix -> whether the names are Meta's
  for (const name of names) {
    const [, prefix, weight] = first.exec(name) ?? [];
    if (prefix === undefined || models.has(prefix)) continue;
    models.set(prefix, !weight!.startsWith('vision_encoder') && !weight!.startsWith('prompt_encoder.point_embed.'));
  }
  const [bare] = models.size === 0 && part !== 'decoder' ? bareEncoder(names) : [];
  if (bare !== undefined) {
    if (part !== 'encoder') {
      throw new Error(
        `loadSam: expected a whole SAM in ${source}, got an image encoder alone ('${bare}patch_embed.proj.weight'); load it with part: 'encoder'`,
      );
    }
    return { names: 'meta', place: placeBelow(bare, 'image_encoder.') };
  }
  const prefix = choosePrefix([...models.keys()], { source, wanted });
  if (prefix === undefined) {
    const some = names.slice(0, 3).map((name) => `'${printable(name)}'`);
    throw new Error(
      `loadSam: expected 'image_encoder.patch_embed.proj.weight' or Hugging Face's 'vision_encoder.patch_embed.projection.weight' in ${source}, got ${names.length} other tensors (${some.join(', ')}…); is it a SAM? loadVit takes plain ViTs`,
    );
  }
  if (models.get(prefix)) return { names: 'meta', place: placeBelow(prefix, '') };
  return {
    names: 'hugging-face',
    place: (name) =>
      name.startsWith(prefix) ? { weight: rename(name.slice(prefix.length), toMeta), part: undefined } : undefined,
  };
}

/** The prefix of an image encoder's own state dict, told from a plain ViT's by its neck. */
function bareEncoder(names: readonly string[]): string[] {
  const all = new Set(names);
  return names.flatMap((name) => {
    const prefix = /^(.*?)patch_embed\.proj\.weight$/.exec(name)?.[1];
    return prefix !== undefined && all.has(`${prefix}neck.0.weight`) ? [prefix] : [];
  });
}

function choosePrefix(
  prefixes: readonly string[],
  { source, wanted }: { source: string; wanted: string | undefined },
): string | undefined {
  if (wanted === undefined && prefixes.length < 2) return prefixes[0];
  const chosen = prefixes.find((prefix) => prefix === wanted || prefix === `${wanted}.`);
  if (chosen !== undefined || prefixes.length === 0) return chosen;
  const list = prefixes.map((prefix) => `'${prefix}'`).join(', ');
  const expected = wanted === undefined ? 'one SAM' : `a SAM below '${wanted}'`;
  throw new Error(
    `loadSam: expected ${expected} in ${source}, got ${prefixes.length} below ${list}; choose with prefix: ${list.split(', ')[0]}`,
  );
}

/** Places of Meta's names below a prefix, in a model that lost the start `lost` of its own names. */
function placeBelow(prefix: string, lost: string): Naming['place'] {
  return (name) => {
    if (!name.startsWith(prefix)) return undefined;
    const plain = `${lost}${name.slice(prefix.length)}`.replace(/^image_encoder\.module\./, 'image_encoder.'); // DataParallel's
    const split = /^(image_encoder\.blocks\.\d+\.attn)\.([qkv])\.(weight|bias)$/.exec(plain);
    if (!split) return { weight: plain, part: undefined };
    return { weight: `${split[1]}.qkv.${split[3]}`, part: 'qkv'.indexOf(split[2]!) };
  };
}

/** The name of q, k or v alone: 'blocks.0.attn.qkv.weight' and 1 -> 'blocks.0.attn.k.weight'. */
export function partName(weight: string, part: number): string {
  return weight.replace(/\.qkv\.(weight|bias)$/, `.${'qkv'[part]}.$1`);
}

/** The image encoder alone, or everything else: prompt encoder and mask decoder. */
export type SamPart = 'encoder' | 'decoder';

/** Those of some things by Meta's names that belong to a part, or all of them. @throws when there is no such part */
export function ofPart<T>(
  entries: Iterable<readonly [string, T]>,
  part: SamPart | undefined,
): (readonly [string, T])[] {
  if (part !== undefined && part !== 'encoder' && part !== 'decoder')
    throw new Error(`SAM: expected part 'encoder' or 'decoder', got '${String(part)}'; leave it out for both`);
  return Array.from(entries).filter(
    ([name]) => part === undefined || name.startsWith('image_encoder.') === (part === 'encoder'),
  );
}
