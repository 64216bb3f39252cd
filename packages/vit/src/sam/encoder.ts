import { linear, mergeWindows, partitionWindows, relativePositions } from '@slimsam/tensor-webgpu/ops';
import { checkFields, type Scope, scope, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { type Blocks, type EncodeOptions, runBlocks, type Tap } from '../blocks.ts';
import { convolution3x3, dense, norm, pointwise } from '../layers.ts';
import { selfAttention } from '../self-attention.ts';
import type { SamConfig } from './config.ts';

/** What the encoder gives back. */
export interface ImageFeatures {
  /** [B, C, H / 16, W / 16] */
  readonly embedding: tf.Tensor4D;
  /** The intermediates that were asked for, by name. */
  readonly taps: Readonly<Record<string, tf.Tensor>>;
}

/** Weights, or only their shapes. */
export type Named = Readonly<Record<string, { readonly shape: readonly number[] }>>;

/**
 * SAM's image encoder (segment-anything, modeling/image_encoder.py): a ViT with window and global attention, decomposed relative
 * positions and a convolutional neck. Weights without any `rel_pos_h` and `rel_pos_w` have no relative positions (`samFromVit`).
 *
 * Taps: `patch_embed` (the residual stream that enters block 0, with the position embedding) [B, h, w, C]; for block i
 * `blocks.i.attn.qkv` [B * windows, N, 3 * heads * head], padded windows included, `blocks.i.attn` (the stream after attention) and
 * `blocks.i` (after the MLP) [B, h, w, C], `blocks.i.mlp.hidden` (after GELU) [B, h, w, M].
 *
 * @param image [B, 3, S, S], normalised
 * @throws when the image has another size, a weight is missing, or a tap is unknown
 */
export function encodeImage(
  weights: Weights,
  config: SamConfig,
  image: tf.Tensor4D,
  options: EncodeOptions = {},
): ImageFeatures {
  checkFields(
    'encodeImage',
    { weights, config, image, options },
    { weights: 'object', config: 'object', image: 'tensor', options: 'object?' },
  );
  const S = config.imageSize;
  if (image.shape[1] !== 3 || image.shape[2] !== S || image.shape[3] !== S) {
    throw new Error(`encodeImage: expected image [B, 3, ${S}, ${S}], got [${image.shape}]; preprocess() makes one`);
  }
  const wanted = new Set(options.taps);
  const depth = encoderDepth(weights);
  const known = tapNames(depth);
  for (const name of wanted) {
    if (!known.includes(name)) throw new Error(`encodeImage: expected taps among ${known.join(', ')}, got '${name}'`);
  }
  return tf.tidy(() => {
    const weight = scope(weights, 'image_encoder');
    const relative = hasRelativePositions(weights);
    const stream = tf.add(patchEmbedding(weight, image), weight('pos_embed')); // [B, h, w, C]
    const prefix = (i: number) => `image_encoder.blocks.${i}.`;
    const run: Blocks['run'] = (weights, x, how) =>
      block(scope(weights, `image_encoder.blocks.${how.index}`), config, x, { ...how, relative });
    const { x, taps } = runBlocks({ weights, depth, prefix, run }, stream, options);
    return { embedding: neck(weight, x), taps };
  });
}

/** A convolution whose stride is its size p, of [B, 3, S, S] -> [B, S / p, S / p, C]. */
function patchEmbedding(weight: Scope, image: tf.Tensor4D): tf.Tensor {
  const kernel = weight('patch_embed.proj.weight');
  const [C, , p] = kernel.shape as [number, number, number];
  const [B, , S] = image.shape;
  const g = S / p;
  const patches = tf.transpose(tf.reshape(image, [B, 3, g, p, g, p]), [0, 2, 4, 1, 3, 5]); // [B, g, g, 3, p, p]
  return linear(tf.reshape(patches, [B, g, g, 3 * p * p]), {
    weight: tf.reshape(kernel, [C, 3 * p * p]),
    bias: weight('patch_embed.proj.bias'),
  });
}

/** Number of blocks, counted by name. */
export function encoderDepth(weights: Named): number {
  let depth = 0;
  while (`image_encoder.blocks.${depth}.norm1.weight` in weights) depth++;
  return depth;
}

/** Whether any block of an encoder has relative positions: then all must. */
export function hasRelativePositions(weights: Named): boolean {
  return Object.keys(weights).some((name) => /^image_encoder\.blocks\.\d+\.attn\.rel_pos_[hw]$/.test(name));
}

/** Names of all taps of an encoder. */
function tapNames(depth: number): string[] {
  const ofBlock = (i: number) => [`blocks.${i}.attn.qkv`, `blocks.${i}.attn`, `blocks.${i}.mlp.hidden`, `blocks.${i}`];
  return ['patch_embed', ...Array.from({ length: depth }, (_, i) => ofBlock(i)).flat()];
}

/** The taps of stage 1, bottleneck aligning: SlimSAM's q/k/v of window and of global blocks, and the MLPs' hidden layers. */
export function bottleneckTaps(
  weights: Named,
  config: SamConfig,
): { windowQkv: string[]; globalQkv: string[]; mlpHidden: string[] } {
  checkFields('bottleneckTaps', { weights, config }, { weights: 'object', config: 'object' });
  const blocks = Array.from({ length: encoderDepth(weights) }, (_, i) => i);
  const qkv = (list: number[]) => list.map((i) => `blocks.${i}.attn.qkv`);
  return {
    windowQkv: qkv(blocks.filter((i) => !config.globalBlocks.includes(i))),
    globalQkv: qkv(blocks.filter((i) => config.globalBlocks.includes(i))),
    mlpHidden: blocks.map((i) => `blocks.${i}.mlp.hidden`),
  };
}

/** The taps of stage 2, embedding aligning: the residual stream after the patch embedding, each attention and each MLP. */
export function embeddingTaps(weights: Named, _config: SamConfig): string[] {
  checkFields('embeddingTaps', { weights }, { weights: 'object' });
  return [
    'patch_embed',
    ...Array.from({ length: encoderDepth(weights) }, (_, i) => [`blocks.${i}.attn`, `blocks.${i}`]).flat(),
  ];
}

/**
 * One block of the image encoder, to run a model block by block.
 *
 * @param x the stream [B, h, w, C] that enters it
 * @returns the stream that leaves it, and the inputs of its linear layers `attn.proj` and `mlp.lin2`: what the heads attended to
 *   [B, h, w, heads * head], in the places of the map, and the hidden layer [B, h, w, M]; with `attn.qkv`'s output as `encodeImage` taps it,
 *   and the stream `attended` between attention and MLP
 */
export function encoderBlock(weights: Weights, config: SamConfig, x: tf.Tensor, index: number): BlockFeatures {
  checkFields(
    'encoderBlock',
    { weights, config, x, index },
    { weights: 'object', config: 'object', x: 'tensor', index: 'number' },
  );
  return tf.tidy(() => {
    const found: Record<string, tf.Tensor> = {};
    const tap: Tap = (name, value) => {
      found[name.slice(`blocks.${index}`.length)] = value;
    };
    const tapHeads = (attended: tf.Tensor) => {
      const [B, h, w] = x.shape as [number, number, number];
      const whole = attended.shape[1] === h && attended.shape[2] === w;
      found.heads = whole ? attended : mergeWindows(attended, tf.zeros([B, h, w, attended.shape[3]!]));
    };
    const weight = scope(weights, `image_encoder.blocks.${index}`);
    const out = block(weight, config, x, { index, tap, tapHeads, relative: hasRelativePositions(weights) });
    const [qkv, attended, hidden] = [found['.attn.qkv']!, found['.attn']!, found['.mlp.hidden']!];
    return { out, heads: found.heads!, qkv, attended, hidden };
  });
}

/** What `encoderBlock` gives. */
export type BlockFeatures = Record<'out' | 'heads' | 'qkv' | 'attended' | 'hidden', tf.Tensor>;

interface BlockOptions {
  readonly index: number;
  readonly tap: Tap;
  /** Told what the heads attended to, by windows [G, s, s, heads * head]. */
  readonly tapHeads?: (attended: tf.Tensor) => void;
  readonly relative?: boolean;
}

/** One block: x [B, h, w, C] -> [B, h, w, C]. */
export function block(
  weight: Scope,
  config: SamConfig,
  x: tf.Tensor,
  { index, tap, tapHeads, relative = true }: BlockOptions,
): tf.Tensor {
  const [, h, w] = x.shape as [number, number, number, number];
  const size = config.globalBlocks.includes(index) ? h : config.windowSize;
  const normed = norm(weight, 'norm1', x, config.epsilon);
  const whole = h === size && w === size; // one window is the map itself
  const windows = whole ? normed : partitionWindows(normed, size);
  const tapQkv = (qkv: tf.Tensor) => tap(`blocks.${index}.attn.qkv`, qkv);
  const attended = windowAttention(weight, config, windows, { relative, tapQkv });
  tapHeads?.(attended);
  const afterAttention = whole
    ? dense(weight, 'attn.proj', attended, { residual: x })
    : mergeWindows(dense(weight, 'attn.proj', attended), x);
  tap(`blocks.${index}.attn`, afterAttention);
  const hidden = dense(weight, 'mlp.lin1', norm(weight, 'norm2', afterAttention, config.epsilon), {
    activation: 'gelu',
  });
  tap(`blocks.${index}.mlp.hidden`, hidden);
  const out = dense(weight, 'mlp.lin2', hidden, { residual: afterAttention });
  tap(`blocks.${index}`, out);
  return out;
}

/**
 * Multi-head attention up to its projection, with decomposed relative positions where there are any: x [G, s, s, C] ->
 * [G, s, s, heads * D].
 */
function windowAttention(
  weight: Scope,
  config: SamConfig,
  x: tf.Tensor,
  { relative, tapQkv }: { relative: boolean; tapQkv: (qkv: tf.Tensor) => void },
): tf.Tensor {
  const [G, s, , C] = x.shape as [number, number, number, number];
  const qkv = dense(weight, 'attn.qkv', tf.reshape(x, [G, s * s, C])); // [G, N, H * (2 D + E)]
  tapQkv(qkv);
  const valueRows = weight('attn.proj.weight').shape[1]!; // H * E
  const queryRows = (qkv.shape[2]! - valueRows) / 2; // H * D
  const bias = (query: tf.Tensor3D) => ({
    height: relativePositions(query, weight('attn.rel_pos_h'), { side: s, axis: 'height' }),
    width: relativePositions(query, weight('attn.rel_pos_w'), { side: s, axis: 'width' }),
  });
  const attended = selfAttention(qkv, {
    heads: relative ? queryRows / weight('attn.rel_pos_h').shape[1]! : config.heads,
    valueRows,
    scale: config.headWidth ** -0.5,
    ...(relative && { bias }),
  });
  return tf.reshape(attended, [G, s, s, valueRows]);
}

/** The encoder's neck on the last block's stream (its tap): [B, h, w, C] -> the embedding [B, 256, h, w]. To train on kept streams. */
export function imageNeck(weights: Weights, stream: tf.Tensor): tf.Tensor4D {
  checkFields('imageNeck', { weights, stream }, { weights: 'object', stream: 'tensor' });
  return tf.tidy(() => neck(scope(weights, 'image_encoder'), stream));
}

/** 1 x 1 and 3 x 3 convolutions, each with a channel norm: [B, h, w, C] -> [B, 256, h, w]. */
function neck(weight: Scope, x: tf.Tensor): tf.Tensor4D {
  const narrow = norm(weight, 'neck.1', pointwise(weight, 'neck.0', x, { bias: false }));
  const mixed = norm(weight, 'neck.3', convolution3x3(weight, 'neck.2', narrow));
  return tf.transpose(mixed, [0, 3, 1, 2]) as tf.Tensor4D;
}
