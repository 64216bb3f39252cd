import type { BottleneckTaps, Features } from '@slimsam/distill';
import {
  bottleneckTaps,
  type EncodeOptions,
  embeddingTaps,
  encodeImage,
  encoderAxes,
  encoderCosts,
  preprocess,
  preprocessVit,
  type RgbImage,
  resizeSam,
  type Sam,
  type SamConfig,
  type Vit,
  type VitConfig,
  vitAxes,
  vitCosts,
  vitFeatures,
  vitTaps,
} from '@slimsam/vit';
import type { Axes, Costs, Weights } from '@slimsam/weights';
import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** What `compress` takes: a SAM or a plain ViT. */
export type Model = Sam | Vit;

/** Names of a network's intermediates. */
export interface NetworkTaps {
  readonly bottleneck: BottleneckTaps;
  readonly embedding: readonly string[];
}

/** What compressing needs to know of an architecture. */
export interface Network {
  readonly kind: 'sam' | 'vit';
  /** A SAM's config, with the size of its photographs here. */
  readonly sam?: SamConfig;
  /** Pixels: the longest side of photographs, or both sides where they are squeezed to a square. */
  readonly size: number;
  readonly fit: 'longest' | 'square';
  /** Whether a weight belongs to the image encoder, which is what is pruned and trained. */
  readonly isEncoder: (name: string) => boolean;
  /** The features [B, …] that are kept, and intermediates. */
  readonly forward: (weights: Weights, images: tf.Tensor4D, options: EncodeOptions) => Features;
  /** Relative positions of its blocks at `size`, where the weights' own are of another. The tensors are new. */
  readonly relativePositions?: (weights: Weights) => Weights;
  readonly axes: (weights: Weights) => Axes;
  readonly taps: (weights: Weights) => NetworkTaps;
  readonly costs: (weights: Weights) => Costs;
  /** Normalised pixels [1, 3, H, W] of a photograph that was resized before. */
  readonly pixels: (image: RgbImage) => tf.Tensor4D;
  /** The weights to prune: the same function, with what keeps the features' width where the stream `narrows`. The tensors are new. */
  readonly prepare: (weights: Weights, options: { readonly narrows: boolean }) => Weights;
}

/** Whether a model is a SAM, or else a plain ViT. */
export function isSam(model: Model): model is Sam {
  checkFields('isSam', model, { config: 'object' });
  return 'globalBlocks' in model.config;
}

/**
 * What compressing needs to know of a model.
 *
 * @param options.size side of the square that a plain ViT reads, pixels; its config's unless given
 * @param options.small side of the square that a SAM reads, pixels; its config's unless given. Its weights stay those of its own size: the
 *   positions are interpolated in each pass, as `resizeSam` does, and their gradient with them
 * @throws when it is neither a SAM nor a plain ViT, or a SAM's size is to be another
 */
export function networkOf(
  model: Model,
  options: { readonly size?: number | undefined; readonly small?: number | undefined } = {},
): Network {
  checkFields('networkOf', { options }, { options: 'object?' });
  checkFields('networkOf', model, { weights: 'object', config: 'object' });
  if (isSam(model)) {
    const { imageSize } = model.config;
    if (options.size !== undefined && options.size !== imageSize)
      throw new Error(
        `compress: expected the size of the SAM, ${imageSize} pixels, got ${options.size}; resizeSam makes one of another size`,
      );
    if (!('image_encoder.patch_embed.proj.weight' in model.weights)) throw noModel(model);
    const { small } = options;
    return small === undefined || small === imageSize
      ? samNetwork(model.config)
      : smallNetwork(model.config, checkSmall(model.config, small));
  }
  if (options.small !== undefined)
    throw new Error(
      'compress: expected a SAM to read smaller photographs first, got a plain ViT; it has a size of its own',
    );
  if (!('patch_embed.proj.weight' in model.weights)) throw noModel(model);
  return vitNetwork(model.config, options.size);
}

function noModel({ weights }: Model): Error {
  const names = Object.keys(weights).slice(0, 3).join(', ');
  return new Error(
    `compress: expected a SAM or a plain ViT as loadSam or loadVit give it, got weights ${names || 'none'}…`,
  );
}

function samNetwork(config: SamConfig): Network {
  return {
    kind: 'sam',
    sam: config,
    size: config.imageSize,
    fit: 'longest',
    isEncoder: (name) => name.startsWith('image_encoder.'),
    forward: (weights, images, options) => encodeImage(weights, config, images, options),
    axes: (weights) => encoderAxes(weights, config),
    taps: (weights) => ({ bottleneck: bottleneckTaps(weights, config), embedding: embeddingTaps(weights, config) }),
    costs: (weights) => encoderCosts(weights, config),
    pixels: (image) => preprocess(image, config).pixels,
    prepare: cloned,
  };
}

/** A SAM's network that reads squares of another size with the weights of its own. */
function smallNetwork(config: SamConfig, size: number): Network {
  const own = samNetwork(config);
  const sam = { ...config, imageSize: size };
  const resized = (weights: Weights, names: RegExp): Weights => {
    const found = Object.entries(weights).filter(([name]) => names.test(name));
    return resizeSam({ weights: Object.fromEntries(found), config }, size).weights;
  };
  return {
    ...own,
    ...{ sam, size },
    forward: (weights, images, options) =>
      tf.tidy(() => {
        const positions = resized(weights, /\.(pos_embed|rel_pos_[hw])$/);
        const { embedding, taps } = encodeImage({ ...weights, ...positions }, sam, images, options);
        return { embedding, taps: { ...taps } };
      }),
    relativePositions: (weights) => resized(weights, /\.rel_pos_[hw]$/),
    pixels: (image) => preprocess(image, sam).pixels,
  };
}

function checkSmall({ patchSize, imageSize }: SamConfig, small: number): number {
  if (Number.isInteger(small) && small >= patchSize && small < imageSize && small % patchSize === 0) return small;
  throw new Error(
    `compress: expected a multiple of the patch's ${patchSize} pixels below ${imageSize} for small photographs, got ${small}`,
  );
}

function vitNetwork(config: VitConfig, given: number | undefined): Network {
  const [height, width] = given === undefined ? config.imageSize : [given, given];
  const size = Math.max(height, width);
  return {
    kind: 'vit',
    size,
    fit: 'square',
    isEncoder: (name) => !/^(head|pooler|mask_token)/.test(name), // features do not depend on them
    forward: (weights, images, options) => {
      const { tokens, taps } = vitFeatures(weights, config, images, options);
      return { embedding: tokens, taps };
    },
    axes: (weights) => vitAxes(weights, config),
    taps: (weights) => vitTaps(weights),
    costs: (weights) => vitCosts(weights, config, { imageSize: [height, width] }),
    // photographs are squeezed to a square already: no crop
    pixels: (image) =>
      preprocessVit(image, { ...config, processing: { size: { height, width }, resample: 'bilinear' } }),
    prepare: (weights, { narrows }) => (narrows ? projected(weights) : cloned(weights)),
  };
}

function cloned(weights: Weights): Weights {
  return Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, tf.clone(weight)]));
}

/** A projection that gives the features their width back, whatever is pruned: the identity to start with. */
function projected(weights: Weights): Weights {
  const copy = cloned(weights);
  if ('projection.weight' in copy) return copy;
  return { ...copy, 'projection.weight': tf.eye(weights['norm.weight']!.shape[0]!) };
}
