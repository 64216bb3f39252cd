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

/**
 * Recognises a checkpoint's names: Meta's or Hugging Face's, below any prefix ('model.', 'module.', 'state_dict.').
 *
 * @throws when there is neither the patch embedding of a SAM nor, of its decoder alone, the point embeddings
 */
export function recogniseNames(names: readonly string[], source: string): Naming {
  const first =
    /^(.*?)(image_encoder\.(?:module\.)?patch_embed\.proj|vision_encoder\.patch_embed\.projection|prompt_encoder\.point_embeddings\.0)\.weight$/;
  const found = names.map((name) => first.exec(name)).find((match) => match !== null);
  if (!found) {
    const some = names.slice(0, 3).map((name) => `'${name}'`);
    throw new Error(
      `loadSam: expected 'image_encoder.patch_embed.proj.weight' or Hugging Face's 'vision_encoder.patch_embed.projection.weight' in ${source}, got ${names.length} other tensors (${some.join(', ')}…); is it a SAM?`,
    );
  }
  const prefix = found[1]!;
  const isMeta = !found[2]!.startsWith('vision_encoder');
  return {
    names: isMeta ? 'meta' : 'hugging-face',
    place(name) {
      if (!name.startsWith(prefix)) return undefined;
      const rest = name.slice(prefix.length);
      if (!isMeta) return { weight: rename(rest, toMeta), part: undefined };
      const plain = rest.replace(/^image_encoder\.module\./, 'image_encoder.'); // DataParallel's
      const split = /^(image_encoder\.blocks\.\d+\.attn)\.([qkv])\.(weight|bias)$/.exec(plain);
      if (!split) return { weight: plain, part: undefined };
      return { weight: `${split[1]}.qkv.${split[3]}`, part: 'qkv'.indexOf(split[2]!) };
    },
  };
}

/** The name of q, k or v alone: 'blocks.0.attn.qkv.weight' and 1 -> 'blocks.0.attn.k.weight'. */
export function partName(weight: string, part: number): string {
  return weight.replace(/\.qkv\.(weight|bias)$/, `.${'qkv'[part]}.$1`);
}

/** The image encoder alone, or everything else: prompt encoder and mask decoder. */
export type SamPart = 'encoder' | 'decoder';

/** Those of some things by Meta's names that belong to a part, or all of them. */
export function ofPart<T>(
  entries: Iterable<readonly [string, T]>,
  part: SamPart | undefined,
): (readonly [string, T])[] {
  return Array.from(entries).filter(
    ([name]) => part === undefined || name.startsWith('image_encoder.') === (part === 'encoder'),
  );
}
