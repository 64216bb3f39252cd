import { gelu, linear } from '@slimsam/tensor-webgpu/ops';
import { checkFields, type Scope, scope, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { type Blocks, type EncodeOptions, runBlocks, type Tap } from '../blocks.ts';
import { dense, norm } from '../layers.ts';
import type { Named } from '../sam/encoder.ts';
import { selfAttention } from '../self-attention.ts';
import type { VitConfig } from './config.ts';
import { type Grid, resizePositions } from './positions.ts';

/** What a plain ViT gives back, all after its last layer norm. */
export interface VitFeatures {
  /** The class token, the registers if there are any, then the patches in rows [B, 1 + R + h * w, C] */
  readonly tokens: tf.Tensor3D;
  /** [B, C] */
  readonly classToken: tf.Tensor2D;
  /** The patches [B, C, h, w] */
  readonly embedding: tf.Tensor4D;
  /** The intermediates that were asked for, by name. */
  readonly taps: Readonly<Record<string, tf.Tensor>>;
}

/**
 * A plain ViT: timm's and Hugging Face's ViT, DINOv2 (layer scale, registers, SwiGLU) and CLIP's vision tower (a layer norm before the
 * blocks, no bias of the patches). Which of these parts there are is told by the weights, which have timm's names.
 *
 * Taps, T tokens: `patch_embed` (the residual stream that enters block 0) [B, T, C]; for block i `blocks.i.attn.qkv`
 * [B, T, 3 * heads * head], `blocks.i.attn` (the stream after attention) and `blocks.i` (after the MLP) [B, T, C],
 * `blocks.i.mlp.hidden` (after the activation, gated if it is a SwiGLU) [B, T, M].
 *
 * Where there is a `projection.weight` [O, C], it follows the last layer norm: a ViT whose stream was pruned to C channels then gives
 * features of the O channels that the original's have.
 *
 * CLIP's `pooler_output` is `classToken`; its `last_hidden_state`, before the last norm, is the last block's tap.
 *
 * @param image [B, 3, H, W], normalised; H and W are multiples of the patch
 * @throws when the image does not fit the patch, the config's heads do not fit the weights, a weight is missing, or a tap is unknown
 */
export function vitFeatures(
  weights: Weights,
  config: VitConfig,
  image: tf.Tensor4D,
  options: EncodeOptions = {},
): VitFeatures {
  checkFields(
    'vitFeatures',
    { weights, config, image, options },
    { weights: 'object', config: 'object', image: 'tensor', options: 'object?' },
  );
  const wanted = new Set(options.taps);
  const depth = vitDepth(weights);
  const known = ['patch_embed', ...Array.from({ length: depth }, (_, i) => tapsOf(i)).flat()];
  for (const name of wanted) {
    if (!known.includes(name)) throw new Error(`vitFeatures: expected taps among ${known.join(', ')}, got '${name}'`);
  }
  const grid = patchGrid(weights, image.shape);
  for (let i = 0; i < depth; i++) checkHeads(weights, config, i);
  return tf.tidy(() => {
    const stream = embed(weights, config, image, grid);
    const run: Blocks['run'] = (weights, x, how) => block(weights, config, x, how);
    const { x, taps } = runBlocks({ weights, depth, prefix: (i) => `blocks.${i}.`, run }, stream, options);
    const normed = norm(scope(weights, ''), 'norm', x, config.epsilon);
    const projection = weights['projection.weight'];
    const tokens = (projection ? linear(normed, { weight: projection }) : normed) as tf.Tensor3D;
    const [B, T, C] = tokens.shape;
    const [h, w] = grid;
    const patches = tf.reshape(tf.slice(tokens, [0, T - h * w, 0]), [B, h, w, C]);
    return {
      tokens,
      classToken: tf.reshape(tf.slice(tokens, [0, 0, 0], [B, 1, C]), [B, C]) as tf.Tensor2D,
      embedding: tf.transpose(patches, [0, 3, 1, 2]) as tf.Tensor4D,
      taps,
    };
  });
}

/**
 * The checkpoint's own head on the features: a classifier's logits or CLIP's image embedding (its visual projection) [B, O]. Of a width
 * of 2 C it reads the class token and the mean of the patches, as transformers' Dinov2ForImageClassification does.
 *
 * @throws when the weights have no head, or its width fits neither
 */
export function vitHead(weights: Weights, features: VitFeatures): tf.Tensor2D {
  checkFields('vitHead', { weights }, { weights: 'object' });
  checkFields('vitHead', features, { classToken: 'tensor', embedding: 'tensor' });
  const { classToken, embedding } = features;
  const weight = scope(weights, 'head')('weight');
  const C = classToken.shape[1];
  if (weight.shape[1] !== C && weight.shape[1] !== 2 * C)
    throw new Error(`vitHead: expected 'head.weight' [O, ${C}] or [O, ${2 * C}], got [${weight.shape}]; prune it too`);
  return tf.tidy(() => {
    const both = () => tf.concat([classToken, tf.mean(embedding, [2, 3])], 1) as tf.Tensor2D;
    return linear(weight.shape[1] === C ? classToken : both(), { weight, bias: weights['head.bias'] });
  });
}

/** The taps to align by: heads and MLPs (all blocks attend globally), and the residual stream. As `bottleneckTaps` and `embeddingTaps`. */
export function vitTaps(weights: Named): {
  bottleneck: { windowQkv: string[]; globalQkv: string[]; mlpHidden: string[] };
  embedding: string[];
} {
  checkFields('vitTaps', { weights }, { weights: 'object' });
  const blocks = Array.from({ length: vitDepth(weights) }, (_, i) => `blocks.${i}`);
  const of = (name: string) => blocks.map((block) => `${block}.${name}`);
  return {
    bottleneck: { windowQkv: [], globalQkv: of('attn.qkv'), mlpHidden: of('mlp.hidden') },
    embedding: ['patch_embed', ...blocks.flatMap((block) => [`${block}.attn`, block])],
  };
}

const tapsOf = (i: number) => [`blocks.${i}.attn.qkv`, `blocks.${i}.attn`, `blocks.${i}.mlp.hidden`, `blocks.${i}`];

/** Number of blocks, counted by name. */
export function vitDepth(weights: Named): number {
  let depth = 0;
  while (`blocks.${depth}.norm1.weight` in weights) depth++;
  return depth;
}

/** Rows and columns of patches of an image [B, 3, H, W]. @throws when they do not divide it */
export function patchGrid(weights: Named, shape: readonly number[]): Grid {
  const kernel = weights['patch_embed.proj.weight']?.shape;
  if (!kernel) throw new Error(`vitFeatures: expected weight 'patch_embed.proj.weight', got none; loadVit gives it`);
  const [p, q] = [kernel[2]!, kernel[3]!];
  const [, channels, H, W] = shape as [number, number, number, number];
  if (channels !== kernel[1] || H % p !== 0 || W % q !== 0 || H === 0 || W === 0)
    throw new Error(
      `vitFeatures: expected image [B, ${kernel[1]}, H, W] with H and W multiples of the patch, ${p} x ${q}, got [${shape}]; resize it`,
    );
  return [H / p, W / q];
}

/** @throws when a block's q, k and v are not a whole number of channels in each of the config's heads */
export function checkHeads(weights: Named, { heads }: VitConfig, block: number): void {
  const name = `blocks.${block}.attn.qkv.weight`;
  const rows = weights[name]?.shape[0];
  if (rows === undefined) return;
  const value = weights[`blocks.${block}.attn.proj.weight`]?.shape[1] ?? rows / 3;
  if (rows > value && value % heads === 0 && (rows - value) % (2 * heads) === 0) return;
  throw new Error(
    `vit: expected '${name}' to have a multiple of 3 x ${heads} rows for ${heads} heads, got ${rows}; give config: { heads }`,
  );
}

/** The residual stream that enters block 0: [B, 1 + R + h * w, C]. */
function embed(weights: Weights, config: VitConfig, image: tf.Tensor4D, [h, w]: Grid): tf.Tensor {
  const weight = scope(weights, '');
  const kernel = weight('patch_embed.proj.weight');
  const [C, channels, p, q] = kernel.shape as [number, number, number, number];
  const B = image.shape[0];
  const cut = tf.transpose(tf.reshape(image, [B, channels, h, p, w, q]), [0, 2, 4, 1, 3, 5]); // [B, h, w, 3, p, q]
  let patches: tf.Tensor = linear(tf.reshape(cut, [B, h * w, channels * p * q]), {
    weight: tf.reshape(kernel, [C, channels * p * q]),
    bias: weights['patch_embed.proj.bias'],
  });
  const from = patchGrid(weights, [1, channels, ...config.imageSize]);
  const positions = weight('pos_embed') as tf.Tensor3D;
  const own = positions.shape[1] - from[0] * from[1]; // 1: the class token has a position
  if (own !== 0 && own !== 1)
    throw new Error(
      `vitFeatures: expected 'pos_embed' [1, ${from[0] * from[1]} or one more, ${C}] for images of ${config.imageSize.join(' x ')}, got [${positions.shape}]; give config: { imageSize }`,
    );
  const resized = resizePositions(positions, { from, to: [h, w], antialias: config.antialias });
  patches = tf.add(patches, tf.slice(resized, [0, own, 0]));
  const repeated = (token: tf.Tensor) => tf.tile(token, [B, 1, 1]);
  const classToken = weight('cls_token');
  const placed = own === 1 ? tf.add(classToken, tf.slice(resized, [0, 0, 0], [1, 1, C])) : classToken;
  const registers = weights.register_tokens; // they have no positions
  const x = tf.concat([repeated(placed), ...(registers ? [repeated(registers)] : []), patches], 1);
  return 'norm_pre.weight' in weights ? norm(weight, 'norm_pre', x, config.epsilon) : x;
}

function block(
  weights: Weights,
  config: VitConfig,
  x: tf.Tensor,
  { index, tap }: { index: number; tap: Tap },
): tf.Tensor {
  const name = `blocks.${index}`;
  const weight = scope(weights, name);
  const scaled = (branch: tf.Tensor, gamma: string) => {
    const scale = weights[`${name}.${gamma}`];
    return scale ? tf.mul(branch, scale) : branch;
  };
  const qkv = linear(norm(weight, 'norm1', x, config.epsilon), {
    weight: weight('attn.qkv.weight'),
    bias: weights[`${name}.attn.qkv.bias`],
  });
  tap(`${name}.attn.qkv`, qkv);
  const attended = dense(
    weight,
    'attn.proj',
    selfAttention(qkv, {
      heads: config.heads,
      valueRows: weight('attn.proj.weight').shape[1]!,
      scale: config.headWidth ** -0.5,
    }),
  );
  const afterAttention = tf.add(x, scaled(attended, 'ls1.gamma'));
  tap(`${name}.attn`, afterAttention);
  const hidden = hiddenLayer(weight, config, norm(weight, 'norm2', afterAttention, config.epsilon));
  tap(`${name}.mlp.hidden`, hidden);
  const out = tf.add(afterAttention, scaled(dense(weight, 'mlp.fc2', hidden), 'ls2.gamma'));
  tap(name, out);
  return out;
}

/** The MLP's hidden layer after its activation [B, T, M]; a first layer of 2 M rows is a SwiGLU, silu(first half) * second half. */
function hiddenLayer(weight: Scope, { activation }: VitConfig, x: tf.Tensor): tf.Tensor {
  const y = dense(weight, 'mlp.fc1', x);
  const M = weight('mlp.fc2.weight').shape[1]!;
  if (y.shape[2] === 2 * M) {
    const [gate, value] = tf.split(y, 2, 2) as [tf.Tensor, tf.Tensor];
    return tf.mul(tf.mul(gate, tf.sigmoid(gate)), value);
  }
  return activation === 'gelu' ? gelu(y) : tf.mul(y, tf.sigmoid(tf.mul(y, 1.702)));
}
