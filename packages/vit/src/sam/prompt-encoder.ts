import { gelu } from '@slimsam/tensor-webgpu/ops';
import { checkFields, type Scope, scope, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { norm, patchConvolution, pointwise } from '../layers.ts';
import { gridSize, type SamConfig } from './config.ts';

/** Prompts in pixels of the resized image. N prompts at once; every one has the same number of points. */
export interface Prompts {
  /** [N, P, 2], x and y */
  readonly points?: tf.Tensor | undefined;
  /** [N, P], of 1 inside, 0 outside, -1 padding; 2 and 3 the corners of a box */
  readonly labels?: tf.Tensor | undefined;
  /** [N, 4], x0 y0 x1 y1 */
  readonly boxes?: tf.Tensor | undefined;
  /** [N, 1, 4h, 4w], logits of an earlier mask */
  readonly masks?: tf.Tensor | undefined;
}

/** What the mask decoder reads of the prompts. */
export interface PromptFeatures {
  /** [N, tokens, C] */
  readonly sparse: tf.Tensor3D;
  /** [N, C, h, w] */
  readonly dense: tf.Tensor4D;
}

/**
 * SAM's prompt encoder (segment-anything, modeling/prompt_encoder.py): points, boxes, masks and any mix of them.
 *
 * Points without a box get one padding token, as there.
 *
 * @throws when there is no prompt at all, or shapes disagree
 */
export function encodePrompts(weights: Weights, config: SamConfig, prompts: Prompts): PromptFeatures {
  checkFields(
    'encodePrompts',
    { weights, config, prompts },
    { weights: 'object', config: 'object', prompts: 'object' },
  );
  const N = checkPrompts(prompts, config);
  const { points, labels, boxes, masks } = prompts;
  return tf.tidy(() => {
    const weight = scope(weights, 'prompt_encoder');
    const C = weight('no_mask_embed.weight').shape[1]!;
    const tokens: tf.Tensor[] = [];
    if (points && labels) tokens.push(embedPoints(weight, config, { points, labels, pad: !boxes }));
    if (boxes) tokens.push(embedBoxes(weight, config, boxes));
    const sparse = tokens.length > 0 ? tf.concat(tokens, 1) : tf.zeros([N, 0, C]);
    return { sparse: sparse as tf.Tensor3D, dense: masks ? embedMasks(weight, masks) : noMask(weight, config, N) };
  });
}

/** The positional encoding of every cell of the embedding: [1, C, h, w]. */
export function positionGrid(weights: Weights, config: SamConfig): tf.Tensor4D {
  return tf.tidy(() => {
    const g = gridSize(config);
    const centres = Float32Array.from({ length: g * g * 2 }, (_, i) => {
      const cell = i >> 1;
      return ((i & 1 ? Math.floor(cell / g) : cell % g) + 0.5) / g;
    });
    const encoded = fourier(scope(weights, 'prompt_encoder'), tf.tensor(centres, [1, g, g, 2]));
    return tf.transpose(encoded, [0, 3, 1, 2]) as tf.Tensor4D;
  });
}

/** Random Fourier features of places in [0, 1]: [..., 2] -> [..., C] = [sin, cos](2 pi (2 x - 1) G). */
function fourier(weight: Scope, places: tf.Tensor): tf.Tensor {
  const gaussian = weight('pe_layer.positional_encoding_gaussian_matrix'); // [2, C / 2]
  const rows = tf.reshape(tf.sub(tf.mul(places, 2), 1), [-1, 2]);
  const angles = tf.mul(tf.matMul(rows as tf.Tensor2D, gaussian as tf.Tensor2D), 2 * Math.PI);
  return tf.reshape(tf.concat([tf.sin(angles), tf.cos(angles)], 1), [
    ...places.shape.slice(0, -1),
    2 * gaussian.shape[1]!,
  ]);
}

/** Places of pixel centres in [0, 1]. */
const normalised = (pixels: tf.Tensor, config: SamConfig): tf.Tensor => tf.div(tf.add(pixels, 0.5), config.imageSize);

function embedPoints(
  weight: Scope,
  config: SamConfig,
  { points, labels, pad }: { points: tf.Tensor; labels: tf.Tensor; pad: boolean },
): tf.Tensor {
  const N = points.shape[0]!;
  let places = normalised(points, config); // [N, P, 2]
  let kinds = tf.cast(labels, 'float32'); // [N, P]
  if (pad) {
    places = tf.concat([places, tf.zeros([N, 1, 2])], 1);
    kinds = tf.concat([kinds, tf.fill([N, 1], -1)], 1);
  }
  const isKind = (kind: number) => tf.cast(tf.expandDims(tf.equal(kinds, kind), 2), 'float32'); // [N, P, 1]
  const padding = isKind(-1);
  let tokens: tf.Tensor = tf.mul(fourier(weight, places), tf.sub(1, padding));
  tokens = tf.add(tokens, tf.mul(padding, weight('not_a_point_embed.weight')));
  for (let kind = 0; kind < 4; kind++)
    tokens = tf.add(tokens, tf.mul(isKind(kind), weight(`point_embeddings.${kind}.weight`)));
  return tokens;
}

function embedBoxes(weight: Scope, config: SamConfig, boxes: tf.Tensor): tf.Tensor {
  const corners = tf.reshape(normalised(boxes, config), [-1, 2, 2]); // [N, corner, xy]
  const kinds = tf.concat([weight('point_embeddings.2.weight'), weight('point_embeddings.3.weight')], 0); // [2, C]
  return tf.add(fourier(weight, corners), kinds);
}

/** Two strided convolutions and a pointwise one: [N, 1, 4h, 4w] -> [N, C, h, w]. */
function embedMasks(weight: Scope, masks: tf.Tensor): tf.Tensor4D {
  let x = tf.transpose(masks, [0, 2, 3, 1]);
  x = gelu(norm(weight, 'mask_downscaling.1', patchConvolution(weight, 'mask_downscaling.0', x)));
  x = gelu(norm(weight, 'mask_downscaling.4', patchConvolution(weight, 'mask_downscaling.3', x)));
  return tf.transpose(pointwise(weight, 'mask_downscaling.6', x, { bias: true }), [0, 3, 1, 2]) as tf.Tensor4D;
}

function noMask(weight: Scope, config: SamConfig, N: number): tf.Tensor4D {
  const g = gridSize(config);
  const C = weight('no_mask_embed.weight').shape[1]!;
  const row = tf.reshape(weight('no_mask_embed.weight'), [1, C, 1, 1]);
  return tf.add(tf.fill([N, 1, g, g], 0), row) as tf.Tensor4D; // tf.zeros would be made on the host and uploaded
}

function checkPrompts({ points, labels, boxes, masks }: Prompts, config: SamConfig): number {
  const counts = [points, boxes, masks].filter((x) => x !== undefined).map((x) => x.shape[0]!);
  if (counts.length === 0) throw new Error('encodePrompts: expected points, boxes or masks, got none of them');
  if (new Set(counts).size > 1)
    throw new Error(`encodePrompts: expected the same number of points, boxes and masks, got ${counts.join(', ')}`);
  if ((points === undefined) !== (labels === undefined)) {
    throw new Error(`encodePrompts: expected points and labels together, got ${points ? 'points' : 'labels'} alone`);
  }
  if (
    points &&
    labels &&
    (points.rank !== 3 || points.shape[2] !== 2 || labels.shape.join() !== points.shape.slice(0, 2).join())
  ) {
    throw new Error(
      `encodePrompts: expected points [N, P, 2] and labels [N, P], got [${points.shape}] and [${labels.shape}]`,
    );
  }
  if (boxes && (boxes.rank !== 2 || boxes.shape[1] !== 4))
    throw new Error(`encodePrompts: expected boxes [N, 4], got [${boxes.shape}]`);
  const side = 4 * gridSize(config);
  if (masks && masks.shape.slice(1).join() !== `1,${side},${side}`) {
    throw new Error(`encodePrompts: expected masks [N, 1, ${side}, ${side}], got [${masks.shape}]`);
  }
  return counts[0]!;
}
