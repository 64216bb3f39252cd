import { truncatedNormal, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Network } from '../models/network.ts';

/**
 * Random weights in the shapes of the encoder's, as ViTs start: matrices from a truncated normal of 0.02, biases and relative positions 0,
 * norms 1; other weights are kept. The tensors are new.
 */
export function initialise(network: Network, weights: Weights, seed: number): Weights {
  let draws = seed * 100_003;
  const entries = Object.entries(weights).map(([name, weight]) => {
    if (!network.isEncoder(name)) return [name, tf.clone(weight)];
    const isScale = /(norm\w*|neck\.[13])\.weight$|\.gamma$/.test(name);
    if (isScale) return [name, tf.onesLike(weight)];
    if (name.endsWith('.bias') || name.includes('.rel_pos_')) return [name, tf.zerosLike(weight)];
    return [name, truncatedNormal(weight.shape, { deviation: 0.02, seed: ++draws })];
  });
  return Object.fromEntries(entries);
}
