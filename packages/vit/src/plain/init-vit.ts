import { checkFields, requireBackend, truncatedNormal, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { VitConfig } from './config.ts';

/** Widths and parts of a new ViT, whose residual stream is heads x headWidth wide. */
export interface VitSizes {
  readonly depth: number;
  readonly mlpWidth: number;
  /** Side of a patch, pixels. */
  readonly patchSize: number;
  /** Register tokens, none unless given. */
  readonly registers?: number;
  /** Start of the layer scales (DINOv2: 1e-5 or 1), none unless given. */
  readonly layerScale?: number;
}

/**
 * Random weights to train from, under timm's names: truncated normals of deviation 0.02, zeros for biases, as timm and DINOv2. A pure
 * function of the seed.
 */
export function initVit(config: VitConfig, sizes: VitSizes, options: { readonly seed: number }): Weights {
  checkFields('initVit', { config, sizes }, { config: 'object', sizes: 'object' });
  checkFields('initVit', options, { seed: 'number' });
  requireBackend('initVit');
  const { depth, mlpWidth, patchSize: p, registers, layerScale } = sizes;
  const weights: Record<string, tf.Tensor> = {};
  let seed = options.seed * 100_003 + 1;
  const normal = (name: string, shape: number[]) => {
    weights[name] = truncatedNormal(shape, { deviation: 0.02, seed: seed++ });
  };
  const constant = (name: string, shape: number[], value: number) => {
    weights[name] = tf.fill(shape, value);
  };
  const linear = (name: string, shape: [number, ...number[]]) => {
    normal(`${name}.weight`, shape);
    constant(`${name}.bias`, [shape[0]], 0);
  };
  const C = config.heads * config.headWidth;
  const norm = (name: string) => {
    constant(`${name}.weight`, [C], 1);
    constant(`${name}.bias`, [C], 0);
  };
  const [height, width] = config.imageSize;
  normal('cls_token', [1, 1, C]);
  if (registers) normal('register_tokens', [1, registers, C]);
  normal('pos_embed', [1, 1 + (height / p) * (width / p), C]);
  linear('patch_embed.proj', [C, 3, p, p]);
  for (let i = 0; i < depth; i++) {
    const block = `blocks.${i}`;
    norm(`${block}.norm1`);
    linear(`${block}.attn.qkv`, [3 * C, C]);
    linear(`${block}.attn.proj`, [C, C]);
    if (layerScale) constant(`${block}.ls1.gamma`, [C], layerScale);
    norm(`${block}.norm2`);
    linear(`${block}.mlp.fc1`, [mlpWidth, C]);
    linear(`${block}.mlp.fc2`, [C, mlpWidth]);
    if (layerScale) constant(`${block}.ls2.gamma`, [C], layerScale);
  }
  norm('norm');
  return weights;
}
