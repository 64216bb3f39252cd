import type { TensorFile } from '@slimsam/weights';
import * as z from 'zod/mini';
import { parseBy } from '../parse-by.ts';

const rgb = z.tuple([z.number(), z.number(), z.number()]);
const side = z.int().check(z.positive());
const sides = z.object({ height: side, width: side });
const edge = z.object({ longest_edge: z.optional(side), shortest_edge: z.optional(side) });

/** The keys of transformers' image processors that change pixels. Others, and what only concerns masks or tensors, are passed over. */
const schema = z.object({
  do_resize: z.nullish(z.boolean()),
  size: z.nullish(z.union([side, sides, edge])),
  resample: z.nullish(z.int()),
  do_center_crop: z.nullish(z.boolean()),
  crop_size: z.nullish(z.union([side, sides])),
  do_rescale: z.nullish(z.boolean()),
  rescale_factor: z.nullish(z.number().check(z.positive())),
  offset: z.nullish(z.boolean()),
  do_normalize: z.nullish(z.boolean()),
  image_mean: z.nullish(z.union([z.number(), rgb])),
  image_std: z.nullish(z.union([z.number(), rgb])),
  do_pad: z.nullish(z.boolean()),
  pad_size: z.nullish(sides),
});

type Rgb = readonly [number, number, number];

/** What a folder of transformers says about pixels. Fields that it leaves open are missing. */
export interface Processor {
  readonly pixelMean?: Rgb;
  readonly pixelStd?: Rgb;
  /** Before the crop: the image's shorter or longer side, or both sides whatever they were. */
  readonly size?: { readonly shortest: number } | { readonly longest: number } | { height: number; width: number };
  readonly crop?: { readonly height: number; readonly width: number };
  readonly resample?: 'bilinear' | 'bicubic';
  readonly resize: boolean;
  readonly pad?: { readonly height: number; readonly width: number } | false;
  /** Where it was read, for errors. */
  readonly source: string;
}

/**
 * Reads preprocessor_config.json, or the image processor inside processor_config.json, which transformers 5 writes instead. Normalising
 * and rescaling become one mean and deviation of bytes: (x factor - mean) / std = (x - mean / factor) / (std / factor).
 *
 * @returns undefined where the folder has neither
 * @throws when a key has another type, or asks for what is not done here, naming it
 */
export async function readProcessor(file: TensorFile, call: 'loadSam' | 'loadVit'): Promise<Processor | undefined> {
  const found = await processorJson(file);
  if (found === undefined) return undefined;
  const source = `${found.name} of ${file.name}`;
  const keys = parseBy(schema, found.json, { expected: `${call}: expected an image processor in ${source}` });
  const refuse = (key: keyof typeof keys, expected: string) => {
    const got = JSON.stringify(keys[key]);
    throw new Error(
      `${call}: expected ${key} ${expected} in ${source}, got ${got}; such preprocessing is not done here`,
    );
  };
  if (keys.offset) refuse('offset', 'false');
  const resample = ({ 2: 'bilinear', 3: 'bicubic' } as const)[keys.resample ?? 2];
  const size = sizeOf(keys);
  if (keys.size != null && !size) refuse('size', 'both sides, or the shortest or the longest edge');
  if (keys.do_resize !== false && !resample) refuse('resample', '2 (bilinear) or 3 (bicubic)');
  return {
    source,
    resize: keys.do_resize !== false,
    ...normalisation(keys),
    ...(size && { size }),
    ...(keys.resample != null && { resample }),
    ...(keys.do_center_crop !== false && keys.crop_size != null && { crop: bothSides(keys.crop_size) }),
    ...(keys.do_pad === false ? { pad: false as const } : keys.pad_size != null && { pad: keys.pad_size }),
  };
}

async function processorJson(file: TensorFile): Promise<{ name: string; json: unknown } | undefined> {
  const json = await file.json('preprocessor_config.json');
  if (json !== undefined) return { name: 'preprocessor_config.json', json };
  const whole = await file.json('processor_config.json');
  const inner = typeof whole === 'object' && whole !== null ? (whole as { image_processor?: unknown }) : {};
  if (inner.image_processor === undefined) return undefined;
  return { name: 'processor_config.json', json: inner.image_processor };
}

function normalisation(keys: z.infer<typeof schema>): Pick<Processor, 'pixelMean' | 'pixelStd'> {
  const factor = keys.do_rescale === false ? 1 : (keys.rescale_factor ?? 1 / 255);
  if (keys.do_normalize === false) return { pixelMean: [0, 0, 0], pixelStd: inBytes(1, factor) };
  return {
    ...(keys.image_mean != null && { pixelMean: inBytes(keys.image_mean, factor) }),
    ...(keys.image_std != null && { pixelStd: inBytes(keys.image_std, factor) }),
  };
}

/** Three channels in the units of bytes, without the rounding errors of the factor. */
function inBytes(channels: number | Rgb, factor: number): Rgb {
  const [r, g, b] = typeof channels === 'number' ? [channels, channels, channels] : channels;
  const scaled = (channel: number) => Number((channel / factor).toPrecision(10));
  return [scaled(r), scaled(g), scaled(b)];
}

/** A bare number is the shorter side where a crop follows (CLIP), else both sides (ViT). */
function sizeOf({ size, do_center_crop: crops }: z.infer<typeof schema>): Processor['size'] {
  if (size == null) return undefined;
  if (typeof size === 'number') return crops ? { shortest: size } : { height: size, width: size };
  if ('height' in size) return size;
  const { longest_edge: longest, shortest_edge: shortest } = size;
  if (longest != null && shortest != null) return undefined;
  return longest != null ? { longest } : shortest != null ? { shortest } : undefined;
}

function bothSides(size: number | { height: number; width: number }): { height: number; width: number } {
  return typeof size === 'number' ? { height: size, width: size } : size;
}
