import type { TensorFile } from '@slimsam/weights';
import * as z from 'zod/mini';
import { type Processor, readProcessor } from '../checkpoint/read-processor.ts';
import { parseBy } from '../parse-by.ts';
import type { Named } from '../sam/encoder.ts';
import { parseVitConfig, type VitConfig } from './config.ts';
import { vitDepth } from './features.ts';
import type { Spelling } from './names.ts';

const side = z.int().check(z.positive());
const imageSize = z.union([
  z.pipe(
    side,
    z.transform((s: number): [number, number] => [s, s]),
  ),
  z.tuple([side, side]),
]);
const rgb = z.tuple([z.number(), z.number(), z.number()]);
const activations = { gelu: 'gelu', quick_gelu: 'quick-gelu' } as const;

/** transformers' ViTConfig, Dinov2Config and CLIPVisionConfig; their defaults for what older files leave out. */
const huggingFace = z.object({
  num_attention_heads: z._default(side, 12),
  hidden_act: z.optional(z.enum(['gelu', 'quick_gelu'])),
  layer_norm_eps: z.optional(z.number().check(z.positive())),
  image_size: z.optional(imageSize),
});
const clip = z.object({ vision_config: huggingFace });
const pretrained = z.object({
  mean: z.optional(rgb),
  std: z.optional(rgb),
  input_size: z.optional(z.tuple([side, side, side])),
});
const timm = z.object({ architecture: z.string(), pretrained_cfg: z.prefault(pretrained, {}) });

/** [0, 1] */
const normalisations = {
  half: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  imageNet: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  clip: { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] },
} as const;

/**
 * Finds a config: what is given, else what `saveVit` left, else config.json and preprocessor_config.json of transformers or timm, else
 * the values with which models of that spelling are published. Heads that nothing tells are 64 wide, or 16 of them where the stream
 * is 1280, 1408 or 1664 wide, if q is as wide as the stream.
 *
 * @throws when a field has another type, or nothing tells it, naming it
 */
export async function readVitConfig(
  file: TensorFile,
  { spelling, shapes, given }: { spelling: Spelling; shapes: Named; given: Partial<VitConfig> },
): Promise<VitConfig> {
  const own = file.metadata.vit_config;
  if (own !== undefined) return parseVitConfig({ ...(parseJson(own, file.name) as object), ...given });
  const known: Partial<VitConfig> = {
    ...published(spelling, shapes),
    ...(await fromJson(file, spelling)),
    ...given,
  };
  const heads = known.heads ?? usualHeads(shapes);
  const config = {
    ...known,
    imageSize: known.imageSize ?? squareImage(shapes),
    heads,
    headWidth: known.headWidth ?? commonHeadWidth(shapes, heads),
  };
  for (const [field, cure] of Object.entries({
    imageSize: '[height, width]',
    heads: 'n',
    headWidth: 'n',
    activation: "'gelu'",
  })) {
    if (config[field as keyof VitConfig] === undefined)
      throw new Error(
        `loadVit: expected ${file.name} to tell ${field}, got nothing that does; give config: { ${field}: ${cure} }`,
      );
  }
  return parseVitConfig(config);
}

/** What models of a spelling have unless their files say otherwise. timm's CLIP towers come with either activation. */
function published(spelling: Spelling, shapes: Named): Partial<VitConfig> {
  const isClip = 'norm_pre.weight' in shapes;
  const isDinov2 = 'blocks.0.ls1.gamma' in shapes;
  const { mean, std } = normalisations[isClip ? 'clip' : isDinov2 ? 'imageNet' : 'half'];
  return {
    ...(spelling === 'hugging-face-clip' ? { activation: 'quick-gelu' } : !isClip && { activation: 'gelu' }),
    epsilon: isClip ? 1e-5 : spelling === 'hugging-face-vit' ? 1e-12 : 1e-6,
    antialias: spelling === 'timm' || 'register_tokens' in shapes,
    pixelMean: toBytes(mean),
    pixelStd: toBytes(std),
  };
}

async function fromJson(file: TensorFile, spelling: Spelling): Promise<Partial<VitConfig>> {
  const json = await file.json('config.json');
  if (spelling === 'meta' || !isOf(spelling, json)) return {}; // Meta's models have none
  if (spelling === 'timm') {
    const { architecture, pretrained_cfg: own } = check(timm, json, file.name);
    return {
      ...(architecture.includes('_clip_') && {
        activation: architecture.includes('quickgelu') ? 'quick-gelu' : 'gelu',
      }),
      ...(own.input_size && { imageSize: [own.input_size[1], own.input_size[2]] as const }),
      ...(own.mean && { pixelMean: toBytes(own.mean) }),
      ...(own.std && { pixelStd: toBytes(own.std) }),
    };
  }
  const whole = typeof json === 'object' && json !== null && 'vision_config' in json;
  const model = whole ? check(clip, json, file.name).vision_config : check(huggingFace, json, file.name);
  const processor = await readProcessor(file, 'loadVit');
  return {
    heads: model.num_attention_heads,
    ...(model.hidden_act && { activation: activations[model.hidden_act] }),
    ...(model.layer_norm_eps && { epsilon: model.layer_norm_eps }),
    ...(model.image_size && { imageSize: model.image_size }),
    ...(processor?.pixelMean && { pixelMean: processor.pixelMean }),
    ...(processor?.pixelStd && { pixelStd: processor.pixelStd }),
    ...(processor && processingOf(processor)),
  };
}

/** @throws when the processor does what `preprocessVit` does not */
function processingOf({ size, crop, resample = 'bilinear', resize, pad, source }: Processor): Partial<VitConfig> {
  const wrong = !resize
    ? 'do_resize false'
    : pad
      ? 'pad_size'
      : size && 'longest' in size
        ? 'size by its longest edge'
        : undefined;
  if (wrong)
    throw new Error(
      `loadVit: expected images resized, then perhaps cropped in ${source}, got ${wrong}; such preprocessing is not done here`,
    );
  if (!size || 'longest' in size) return {};
  return { processing: { size, ...(crop && { crop }), resample } };
}

/** Whether it is the config of such a model, and not another program's config.json that stands beside the file. */
function isOf(spelling: Spelling, json: unknown): boolean {
  if (typeof json !== 'object' || json === null) return json !== undefined;
  const fields =
    spelling === 'timm'
      ? ['architecture', 'pretrained_cfg']
      : ['num_attention_heads', 'vision_config', 'hidden_act', 'model_type'];
  return Object.keys(json).length === 0 || fields.some((field) => field in json);
}

/** Rows of q of a block. */
function queryRows(shapes: Named, block: number): number {
  return shapes[`blocks.${block}.attn.qkv.weight`]!.shape[0]! / 3;
}

function usualHeads(shapes: Named): number | undefined {
  const width = shapes['patch_embed.proj.weight']!.shape[0]!;
  for (let i = 0; i < vitDepth(shapes); i++) if (queryRows(shapes, i) !== width) return undefined;
  if ([1280, 1408, 1664].includes(width)) return 16;
  return width % 64 === 0 ? width / 64 : undefined;
}

/** The head width, if all blocks have the same. */
function commonHeadWidth(shapes: Named, heads: number | undefined): number | undefined {
  const rows = new Set(Array.from({ length: vitDepth(shapes) }, (_, i) => queryRows(shapes, i)));
  return heads && rows.size === 1 ? Math.floor([...rows][0]! / heads) : undefined;
}

/** The image size of a square grid of positions, with or without one for the class token. */
function squareImage(shapes: Named): readonly [number, number] | undefined {
  const length = shapes.pos_embed!.shape[1]!;
  const [p, q] = shapes['patch_embed.proj.weight']!.shape.slice(2) as [number, number];
  const square = [length - 1, length].find((cells) => cells > 0 && Number.isInteger(Math.sqrt(cells)));
  return square === undefined ? undefined : [Math.sqrt(square) * p, Math.sqrt(square) * q];
}

type Rgb = readonly [number, number, number];

/** Three channels of [0, 1] in [0, 255], without the rounding errors of having been divided by 255. */
function toBytes(channels: Rgb): Rgb {
  const [r, g, b] = channels.map((channel) => Number((channel * 255).toPrecision(10)));
  return [r!, g!, b!];
}

function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`loadVit: expected JSON as vit_config of ${source}, got '${text.slice(0, 40)}'`, { cause: error });
  }
}

function check<T>(schema: z.ZodMiniType<T>, json: unknown, source: string): T {
  return parseBy(schema, json, {
    expected: `loadVit: expected a ViT's config in ${source}`,
    cure: 'give config: { … }',
  });
}
