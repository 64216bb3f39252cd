import { attention, gelu } from '@slimsam/tensor-webgpu/ops';
import { checkFields, type Scope, scope, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { dense, norm, upscale2x } from '../layers.ts';
import type { SamConfig } from './config.ts';
import { positionGrid } from './prompt-encoder.ts';

/** What the decoder reads. */
export interface MaskInputs {
  /** [1, C, h, w] for all prompts, or one for each [N, C, h, w] */
  readonly embedding: tf.Tensor4D;
  /** [N, tokens, C] */
  readonly sparse: tf.Tensor3D;
  /** [N, C, h, w] */
  readonly dense: tf.Tensor4D;
  /** Three masks for an ambiguous prompt instead of one. */
  readonly multimask: boolean;
}

/** Masks and how good the model thinks they are. */
export interface Masks {
  /** [N, 1 or 3, 4h, 4w], logits */
  readonly masks: tf.Tensor4D;
  /** [N, 1 or 3], predicted IoU */
  readonly scores: tf.Tensor2D;
}

const tokenEpsilon = 1e-5; // torch.nn.LayerNorm's own; the 2-D norms have 1e-6

/** SAM's mask decoder (segment-anything, modeling/mask_decoder.py). @throws when shapes disagree */
export function decodeMasks(weights: Weights, config: SamConfig, inputs: MaskInputs): Masks {
  checkFields('decodeMasks', { weights, config, inputs }, { weights: 'object', config: 'object', inputs: 'object' });
  const { embedding, sparse, multimask } = inputs;
  const N = sparse.shape[0];
  if ((embedding.shape[0] !== 1 && embedding.shape[0] !== N) || inputs.dense.shape[0] !== N) {
    throw new Error(
      `decodeMasks: expected embedding [1 or ${N}, C, h, w] and dense [${N}, C, h, w], got [${embedding.shape}] and [${inputs.dense.shape}]`,
    );
  }
  return tf.tidy(() => {
    const weight = scope(weights, 'mask_decoder');
    const [, C, h, w] = embedding.shape;
    const own = tf.concat([weight('iou_token.weight'), weight('mask_tokens.weight')], 0); // [1 + M, C]
    const tokens = tf.concat([tf.add(tf.fill([N, 1, 1], 0), own), sparse], 1);
    const image = toTokens(tf.add(embedding, inputs.dense)); // [N, h * w, C]
    const places = toTokens(positionGrid(weights, config)); // [1, h * w, C]
    const { queries, keys } = tf.tidy(() =>
      twoWayTransformer(scope(weights, 'mask_decoder.transformer'), config, { image, places, tokens }),
    );
    const upscaled = tf.tidy(() => upscale(weight, tf.reshape(keys, [N, h, w, C]))); // [N, 4h, 4w, C / 8]
    const count = weight('mask_tokens.weight').shape[0]!;
    const [first, kept] = multimask ? [1, count - 1] : [0, 1];
    const hyper = Array.from({ length: kept }, (_, i) => {
      const token = tf.squeeze(tf.slice(queries, [0, 1 + first + i, 0], [N, 1, C]), [1]);
      return perceptron(scope(weights, `mask_decoder.output_hypernetworks_mlps.${first + i}`), token);
    });
    const pixels = tf.reshape(upscaled, [N, 16 * h * w, upscaled.shape[3]!]);
    const masks = tf.reshape(tf.matMul(tf.stack(hyper, 1), pixels, false, true), [
      N,
      kept,
      4 * h,
      4 * w,
    ]) as tf.Tensor4D;
    const iou = perceptron(
      scope(weights, 'mask_decoder.iou_prediction_head'),
      tf.squeeze(tf.slice(queries, [0, 0, 0], [N, 1, C]), [1]),
    );
    return { masks, scores: tf.slice(iou, [0, first], [N, kept]) as tf.Tensor2D };
  });
}

/** [B, C, h, w] -> [B, h * w, C] */
function toTokens(x: tf.Tensor4D): tf.Tensor3D {
  const [B, C, h, w] = x.shape;
  return tf.transpose(tf.reshape(x, [B, C, h * w]), [0, 2, 1]) as tf.Tensor3D;
}

/** Linear layers with ReLU between them, as many as there are. */
function perceptron(weight: Scope, x: tf.Tensor, depth = 3): tf.Tensor {
  let y = x;
  for (let i = 0; i < depth; i++)
    y = dense(weight, `layers.${i}`, y, { activation: i < depth - 1 ? 'relu' : undefined });
  return y;
}

/** [N, h, w, C] -> [N, 4h, 4w, C / 8] */
function upscale(weight: Scope, x: tf.Tensor): tf.Tensor {
  const double = gelu(norm(weight, 'output_upscaling.1', upscale2x(weight, 'output_upscaling.0', x)));
  return gelu(upscale2x(weight, 'output_upscaling.3', double));
}

/** Tokens and image attend to each other, both ways (segment-anything, modeling/transformer.py). */
function twoWayTransformer(
  weight: Scope,
  config: SamConfig,
  { image, places, tokens }: { image: tf.Tensor; places: tf.Tensor; tokens: tf.Tensor },
): { queries: tf.Tensor; keys: tf.Tensor } {
  let queries = tokens;
  let keys = image;
  const part =
    (name: string): Scope =>
    (short) =>
      weight(`${name}.${short}`);
  const attend = (name: string, q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) =>
    tf.tidy(() => projectedAttention(part(name), config, { q, k, v }));
  for (let i = 0; i < 2; i++) {
    const layer = `layers.${i}`;
    // the first layer's tokens are their own positions
    const withPlace = i === 0 ? queries : tf.add(queries, tokens);
    const own = attend(`${layer}.self_attn`, withPlace, withPlace, queries);
    queries = norm(part(layer), 'norm1', i === 0 ? own : tf.add(queries, own), tokenEpsilon);
    const toImage = attend(`${layer}.cross_attn_token_to_image`, tf.add(queries, tokens), tf.add(keys, places), keys);
    queries = norm(part(layer), 'norm2', tf.add(queries, toImage), tokenEpsilon);
    const hidden = dense(part(layer), 'mlp.lin1', queries, { activation: 'relu' });
    queries = norm(part(layer), 'norm3', tf.add(queries, dense(part(layer), 'mlp.lin2', hidden)), tokenEpsilon);
    const toTokens = attend(
      `${layer}.cross_attn_image_to_token`,
      tf.add(keys, places),
      tf.add(queries, tokens),
      queries,
    );
    keys = norm(part(layer), 'norm4', tf.add(keys, toTokens), tokenEpsilon);
  }
  const last = attend('final_attn_token_to_image', tf.add(queries, tokens), tf.add(keys, places), keys);
  return { queries: norm(weight, 'norm_final_attn', tf.add(queries, last), tokenEpsilon), keys };
}

/** Multi-head attention with its projections: q [N, Q, C], k and v [N, K, C] -> [N, Q, C]. */
function projectedAttention(
  weight: Scope,
  config: SamConfig,
  { q, k, v }: { q: tf.Tensor; k: tf.Tensor; v: tf.Tensor },
): tf.Tensor {
  const H = config.decoderHeads;
  const heads = (name: string, x: tf.Tensor): tf.Tensor3D => {
    const projected = dense(weight, name, x);
    const [N, T, I] = projected.shape as [number, number, number];
    return tf.reshape(tf.transpose(tf.reshape(projected, [N, T, H, I / H]), [0, 2, 1, 3]), [N * H, T, I / H]);
  };
  const out = attention({ query: heads('q_proj', q), key: heads('k_proj', k), value: heads('v_proj', v) });
  const [N, T] = q.shape as [number, number];
  const D = out.shape[2];
  const merged = tf.reshape(tf.transpose(tf.reshape(out, [N, H, T, D]), [0, 2, 1, 3]), [N, T, H * D]);
  return dense(weight, 'out_proj', merged);
}
