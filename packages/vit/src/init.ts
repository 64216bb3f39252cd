import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { gridSize, type SamConfig } from './config.ts';

/** Widths of a new SAM, by the names of segment-anything's arguments. */
export interface SamSizes {
  /** Width of the encoder's residual stream: heads x headWidth. */
  readonly width: number;
  readonly depth: number;
  readonly mlpWidth: number;
  /** Width of the embedding and the decoder. */
  readonly promptWidth: number;
  readonly maskChannels: number;
  readonly decoderMlpWidth: number;
  readonly iouHiddenWidth: number;
}

/**
 * Random weights to train from, under Meta's names: truncated normals for the encoder, torch's default for the decoder's linear
 * layers, zeros for biases and relative positions. A pure function of the seed.
 *
 * The decoder's attention between tokens and image starts with equal projections of queries and keys, so that a point attends to
 * its own place from the first step: after 300 steps of `examples/train-teacher.ts` the mIoU is 0.36, without it 0.00.
 */
export function initSam(config: SamConfig, sizes: SamSizes, options: { readonly seed: number }): Weights {
  const weights: Record<string, tf.Tensor> = {};
  let seed = options.seed * 100_003 + 1;
  const normal = (name: string, shape: number[], deviation: number) => {
    weights[name] = tf.truncatedNormal(shape, 0, deviation, 'float32', seed++);
  };
  const constant = (name: string, shape: number[], value: number) => {
    weights[name] = tf.fill(shape, value);
  };
  const linear = (name: string, [O, I]: [number, number], deviation = Math.sqrt(1 / (3 * I))) => {
    normal(`${name}.weight`, [O, I], deviation);
    constant(`${name}.bias`, [O], 0);
  };
  const norm = (name: string, C: number) => {
    constant(`${name}.weight`, [C], 1);
    constant(`${name}.bias`, [C], 0);
  };
  const convolution = (name: string, shape: number[], options: { bias?: number; fanIn: number }) => {
    normal(`${name}.weight`, shape, Math.sqrt(1 / options.fanIn));
    if (options.bias) constant(`${name}.bias`, [options.bias], 0);
  };

  const { width: C, mlpWidth, promptWidth: P, maskChannels: M } = sizes;
  const g = gridSize(config);
  const p = config.patchSize;
  const encoder = 'image_encoder';
  convolution(`${encoder}.patch_embed.proj`, [C, 3, p, p], { bias: C, fanIn: 3 * p * p });
  normal(`${encoder}.pos_embed`, [1, g, g, C], 0.02);
  for (let i = 0; i < sizes.depth; i++) {
    const block = `${encoder}.blocks.${i}`;
    const side = config.globalBlocks.includes(i) ? g : config.windowSize;
    norm(`${block}.norm1`, C);
    norm(`${block}.norm2`, C);
    linear(`${block}.attn.qkv`, [3 * config.heads * config.headWidth, C], Math.sqrt(1 / C));
    linear(`${block}.attn.proj`, [C, config.heads * config.headWidth], 0.02);
    constant(`${block}.attn.rel_pos_h`, [2 * side - 1, config.headWidth], 0);
    constant(`${block}.attn.rel_pos_w`, [2 * side - 1, config.headWidth], 0);
    linear(`${block}.mlp.lin1`, [mlpWidth, C], Math.sqrt(1 / C));
    linear(`${block}.mlp.lin2`, [C, mlpWidth], 0.02);
  }
  convolution(`${encoder}.neck.0`, [P, C, 1, 1], { fanIn: C });
  norm(`${encoder}.neck.1`, P);
  convolution(`${encoder}.neck.2`, [P, P, 3, 3], { fanIn: 9 * P });
  norm(`${encoder}.neck.3`, P);

  const prompt = 'prompt_encoder';
  normal(`${prompt}.pe_layer.positional_encoding_gaussian_matrix`, [2, P / 2], 1);
  for (let i = 0; i < 4; i++) normal(`${prompt}.point_embeddings.${i}.weight`, [1, P], 0.2);
  normal(`${prompt}.not_a_point_embed.weight`, [1, P], 0.2);
  normal(`${prompt}.no_mask_embed.weight`, [1, P], 1);
  convolution(`${prompt}.mask_downscaling.0`, [M / 4, 1, 2, 2], { bias: M / 4, fanIn: 4 });
  norm(`${prompt}.mask_downscaling.1`, M / 4);
  convolution(`${prompt}.mask_downscaling.3`, [M, M / 4, 2, 2], { bias: M, fanIn: M });
  norm(`${prompt}.mask_downscaling.4`, M);
  convolution(`${prompt}.mask_downscaling.6`, [P, M, 1, 1], { bias: P, fanIn: M });

  const decoder = 'mask_decoder';
  normal(`${decoder}.iou_token.weight`, [1, P], 1);
  normal(`${decoder}.mask_tokens.weight`, [4, P], 1);
  const attention = (name: string, inner: number, deviation?: number) => {
    const first = seed;
    for (const part of ['q_proj', 'k_proj', 'v_proj']) {
      if (part === 'k_proj' && deviation) seed = first; // as q_proj
      linear(`${name}.${part}`, [inner, P], part === 'v_proj' ? undefined : deviation);
    }
    linear(`${name}.out_proj`, [P, inner]);
  };
  const crossAttention = (name: string) => attention(name, P / 2, 2 * Math.sqrt(1 / P));
  for (let i = 0; i < 2; i++) {
    const layer = `${decoder}.transformer.layers.${i}`;
    attention(`${layer}.self_attn`, P);
    crossAttention(`${layer}.cross_attn_token_to_image`);
    crossAttention(`${layer}.cross_attn_image_to_token`);
    linear(`${layer}.mlp.lin1`, [sizes.decoderMlpWidth, P]);
    linear(`${layer}.mlp.lin2`, [P, sizes.decoderMlpWidth]);
    for (let n = 1; n <= 4; n++) norm(`${layer}.norm${n}`, P);
  }
  crossAttention(`${decoder}.transformer.final_attn_token_to_image`);
  norm(`${decoder}.transformer.norm_final_attn`, P);
  convolution(`${decoder}.output_upscaling.0`, [P, P / 4, 2, 2], { bias: P / 4, fanIn: P });
  norm(`${decoder}.output_upscaling.1`, P / 4);
  convolution(`${decoder}.output_upscaling.3`, [P / 4, P / 8, 2, 2], { bias: P / 8, fanIn: P / 4 });
  for (let i = 0; i < 4; i++) {
    const mlp = `${decoder}.output_hypernetworks_mlps.${i}.layers`;
    linear(`${mlp}.0`, [P, P]);
    linear(`${mlp}.1`, [P, P]);
    linear(`${mlp}.2`, [P / 8, P]);
  }
  const head = `${decoder}.iou_prediction_head.layers`;
  linear(`${head}.0`, [sizes.iouHiddenWidth, P]);
  linear(`${head}.1`, [sizes.iouHiddenWidth, sizes.iouHiddenWidth]);
  linear(`${head}.2`, [4, sizes.iouHiddenWidth]);
  return weights;
}
