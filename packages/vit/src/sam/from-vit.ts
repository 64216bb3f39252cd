import { checkFields, disposeWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Sam } from '../checkpoint/load-sam.ts';
import { samShapes } from '../checkpoint/sam-shapes.ts';
import { vitDepth } from '../plain/features.ts';
import type { Vit } from '../plain/load-vit.ts';
import { resizePositions } from '../plain/positions.ts';
import { axisFrequencies, positionMatrix } from './axis-frequencies.ts';
import { gridSize, parseSamConfig, type SamConfig } from './config.ts';
import { initWeights, type SamSizes } from './init.ts';
import { sideHeads } from './side-heads.ts';

/** The new parts of a SAM on a plain ViT, as segment-anything's arguments call them. */
export interface SamFromVitOptions extends Partial<Omit<SamSizes, 'width' | 'depth' | 'mlpWidth'>> {
  /** Side of the square input, pixels; a multiple of the patch. */
  readonly imageSize: number;
  /** Heads of the mask decoder; 8 unless given. */
  readonly decoderHeads?: number;
  /** Of the new weights. */
  readonly seed: number;
}

/**
 * A SAM whose image encoder is a plain ViT, such as DINOv2: all blocks attend globally, positions are absolute and there are no relative
 * ones. Neck, prompt encoder and mask decoder are new and want training: random as `initSam`'s, but for the frequencies of the prompts'
 * positions, which are along the axes (see `withAxisFrequencies`), and the heads that tell sides (see `withSideHeads`).
 *
 * Layer scales are folded into the projection and the second layer of the MLP, W <- diag(gamma) W, b <- gamma b. The class token, the
 * registers, the last norm and a head are left out: the blocks equal those of `vitFeatures` computed on the patches alone. Positions are
 * resized to the grid as the ViT resizes them. All tensors are new.
 *
 * @param options.promptWidth width of the embedding and the decoder, 256 unless given; then maskChannels is 16, decoderMlpWidth
 *   8 x promptWidth and iouHiddenWidth promptWidth
 * @throws when the ViT has parts that SAM's blocks have not (a SwiGLU, quick GELU, a norm before the blocks, patches that are not
 *   square), or the sizes do not divide
 */
export function samFromVit(vit: Vit, options: SamFromVitOptions): Sam {
  checkFields('samFromVit', { options }, { options: 'object' });
  checkFields('samFromVit', vit, { weights: 'object', config: 'object' });
  const config = configOf(vit, options);
  const { promptWidth = 256, maskChannels = 16 } = options;
  const { decoderMlpWidth = 8 * promptWidth, iouHiddenWidth = promptWidth } = options;
  const [C] = vit.weights['patch_embed.proj.weight']!.shape as [number];
  const shapes = samShapes({
    ...{ embed: C, patchSize: config.patchSize, grid: gridSize(config), blocks: [] },
    ...{ prompt: promptWidth, maskChannels, decoderMlp: decoderMlpWidth, decoderCross: promptWidth / 2 },
    iouHidden: iouHiddenWidth,
  });
  const isNew = (name: string) => !/^image_encoder\.(patch_embed|pos_embed)/.test(name);
  const random = initWeights(Object.fromEntries(Object.entries(shapes).filter(([name]) => isNew(name))), options.seed);
  try {
    const encoder = tf.tidy(() => encoderWeights(vit, gridSize(config)));
    random[positionMatrix]!.dispose();
    const frequencies = axisFrequencies(promptWidth / 2);
    const along = tf.tensor(frequencies, [2, promptWidth / 2]);
    const sides = sideHeads(random, { frequencies, heads: config.decoderHeads }) ?? {};
    for (const name of Object.keys(sides)) random[name]!.dispose();
    return { weights: { ...encoder, ...random, [positionMatrix]: along, ...sides }, config };
  } catch (error) {
    disposeWeights(random);
    throw error;
  }
}

/** @throws when the ViT does not fit SAM's encoder, or the sizes do not fit each other */
function configOf({ weights, config }: Vit, options: SamFromVitOptions): SamConfig {
  const { imageSize, decoderHeads = 8, promptWidth = 256 } = options;
  const [, , p, q] = weights['patch_embed.proj.weight']?.shape ?? [];
  const depth = vitDepth(weights);
  const [fc1, fc2] = ['fc1', 'fc2'].map((name) => weights[`blocks.0.mlp.${name}.weight`]?.shape);
  const problems: readonly (readonly [boolean, string])[] = [
    [
      p === undefined || depth === 0,
      `a plain ViT with patch embedding and blocks, got ${depth} blocks; loadVit gives one`,
    ],
    [p !== q, `square patches, got ${p} x ${q}`],
    [fc1?.[0] !== fc2?.[1], 'MLPs with one GELU, got a SwiGLU'],
    [config.activation !== 'gelu', `the exact GELU, got '${config.activation}'`],
    ['norm_pre.weight' in weights, "no norm before the blocks, got 'norm_pre.weight'"],
    [
      promptWidth % 8 !== 0 || promptWidth % (2 * decoderHeads) !== 0,
      `promptWidth to be a multiple of 8 and of twice the ${decoderHeads} decoderHeads, got ${promptWidth}`,
    ],
  ];
  const problem = problems.find(([found]) => found);
  if (problem) throw new Error(`samFromVit: expected ${problem[1]}`);
  return parseSamConfig({
    ...{ imageSize, patchSize: p, heads: config.heads, headWidth: config.headWidth, decoderHeads },
    ...{ windowSize: Math.ceil(imageSize / p!), globalBlocks: Array.from({ length: depth }, (_, i) => i) },
    ...{ pixelMean: config.pixelMean, pixelStd: config.pixelStd },
    ...(config.epsilon !== 1e-6 && { epsilon: config.epsilon }),
  });
}

/** The ViT's weights under SAM's names. */
function encoderWeights({ weights, config }: Vit, side: number): Record<string, tf.Tensor> {
  const encoder = 'image_encoder';
  const at = (name: string) => weights[name]!;
  const [C, , p] = at('patch_embed.proj.weight').shape as [number, number, number];
  const patchBias = weights['patch_embed.proj.bias'];
  const made: Record<string, tf.Tensor> = {
    [`${encoder}.patch_embed.proj.weight`]: tf.clone(at('patch_embed.proj.weight')),
    [`${encoder}.patch_embed.proj.bias`]: patchBias ? tf.clone(patchBias) : tf.zeros([C]),
    [`${encoder}.pos_embed`]: positionsOf(at('pos_embed') as tf.Tensor3D, config, { p, side }),
  };
  for (let i = 0; i < vitDepth(weights); i++) {
    const [from, to] = [`blocks.${i}`, `${encoder}.blocks.${i}`];
    const qkvBias = weights[`${from}.attn.qkv.bias`];
    const rows = at(`${from}.attn.qkv.weight`).shape[0]!;
    made[`${to}.attn.qkv.weight`] = tf.clone(at(`${from}.attn.qkv.weight`));
    made[`${to}.attn.qkv.bias`] = qkvBias ? tf.clone(qkvBias) : tf.zeros([rows]);
    for (const kind of ['weight', 'bias']) {
      for (const name of ['norm1', 'norm2']) made[`${to}.${name}.${kind}`] = tf.clone(at(`${from}.${name}.${kind}`));
      made[`${to}.attn.proj.${kind}`] = scaled(at(`${from}.attn.proj.${kind}`), weights[`${from}.ls1.gamma`]);
      made[`${to}.mlp.lin1.${kind}`] = tf.clone(at(`${from}.mlp.fc1.${kind}`));
      made[`${to}.mlp.lin2.${kind}`] = scaled(at(`${from}.mlp.fc2.${kind}`), weights[`${from}.ls2.gamma`]);
    }
  }
  return made;
}

/** Positions of the patches alone: [1, own + n, C] -> [1, side, side, C]. */
function positionsOf(
  positions: tf.Tensor3D,
  config: Vit['config'],
  { p, side }: { p: number; side: number },
): tf.Tensor {
  const [, length, C] = positions.shape;
  const from = [config.imageSize[0] / p, config.imageSize[1] / p] as const;
  const count = from[0] * from[1];
  const patches = tf.slice(positions, [0, length - count, 0], [1, count, C]) as tf.Tensor3D;
  const resized = resizePositions(patches, { from, to: [side, side], antialias: config.antialias });
  return tf.reshape(resized, [1, side, side, C]);
}

/** Rows times gamma: diag(gamma) W, or gamma b. */
function scaled(weight: tf.Tensor, gamma: tf.Tensor | undefined): tf.Tensor {
  if (!gamma) return tf.clone(weight);
  return tf.mul(weight, weight.rank === 2 ? tf.expandDims(gamma, 1) : gamma);
}
