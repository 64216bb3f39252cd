import * as z from 'zod/mini';
import { parseBy } from '../parse-by.ts';

/** What the shapes of the weights cannot tell about a plain ViT. Widths and depths come from the weights, so pruning keeps the config. */
export interface VitConfig {
  /** Height and width of the images that the position embeddings are made for, pixels. Others are interpolated. */
  readonly imageSize: readonly [height: number, width: number];
  readonly heads: number;
  /** Channels of a head before any pruning: attention scores keep the scale headWidth^-1/2 when channels are removed. */
  readonly headWidth: number;
  /** Of the MLPs: the exact GELU, or CLIP's x sigmoid(1.702 x). A SwiGLU is seen by its shape. */
  readonly activation: 'gelu' | 'quick-gelu';
  /** Added to the variance by every layer norm. */
  readonly epsilon: number;
  /** How position embeddings are interpolated: PyTorch's bicubic with antialias (timm, DINOv2 with registers) or without. */
  readonly antialias: boolean;
  /** Mean and standard deviation of R, G, B, in [0, 255]. */
  readonly pixelMean: readonly [number, number, number];
  readonly pixelStd: readonly [number, number, number];
  /** How `preprocessVit` brings a photograph to the input's size, where the checkpoint's folder says it; see there. */
  readonly processing?: VitProcessing;
}

/** What transformers' image processors do before they normalise. */
export interface VitProcessing {
  /** Pixels: the image's shorter side, its sides keeping their ratio, or both sides whatever they were. */
  readonly size: { readonly shortest: number } | { readonly height: number; readonly width: number };
  /** Cut from the middle afterwards. */
  readonly crop?: { readonly height: number; readonly width: number };
  /** Pillow's filter. */
  readonly resample: 'bilinear' | 'bicubic';
}

const count = z.int().check(z.positive());
const rgb = z.tuple([z.number(), z.number(), z.number()]);
const sides = z.strictObject({ height: count, width: count });
const vitConfig = z.strictObject({
  imageSize: z.tuple([count, count]),
  heads: count,
  headWidth: count,
  activation: z._default(z.enum(['gelu', 'quick-gelu']), 'gelu'),
  epsilon: z._default(z.number().check(z.positive()), 1e-6),
  antialias: z._default(z.boolean(), true),
  pixelMean: z._default(rgb, [127.5, 127.5, 127.5]),
  pixelStd: z._default(rgb, [127.5, 127.5, 127.5]),
  processing: z.optional(
    z.strictObject({
      size: z.union([z.strictObject({ shortest: count }), sides]),
      crop: z.optional(sides),
      resample: z.enum(['bilinear', 'bicubic']),
    }),
  ),
});

/**
 * Checks a config read from JSON. What is left out has the values of timm's ViT.
 *
 * @throws when a field is missing, unknown or of another type, naming each
 */
export function parseVitConfig(json: unknown): VitConfig {
  // zod's optional fields may be undefined, and JSON's never are
  return parseBy(vitConfig, json, { expected: 'ViT config: expected the fields of VitConfig' }) as VitConfig;
}
