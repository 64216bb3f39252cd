import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Network } from '../models/network.ts';

/** The stream [B, h, w, C] that enters the first block of a SAM's image encoder, without computing its blocks. */
export function enteringStream(
  network: Network,
  { weights, pixels }: { weights: Weights; pixels: tf.Tensor4D },
): tf.Tensor {
  const withoutBlocks = Object.fromEntries(
    Object.entries(weights).filter(([name]) => !name.startsWith('image_encoder.blocks.')),
  );
  return tf.tidy(() => tf.clone(network.forward(withoutBlocks, pixels, { taps: ['patch_embed'] }).taps.patch_embed!));
}
