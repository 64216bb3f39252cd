import { accumulateGradients, disturbedLoss, importance, noise, prune, select, zeroChannels } from '@slimsam/prune';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import { type Vit, vitAxes, vitFeatures } from '../src/index.ts';

/** The values of a ViT's tokens. */
export async function tokensOf({ weights, config }: Vit, image: tf.Tensor4D): Promise<Float32Array> {
  const tokens = tf.tidy(() => vitFeatures(weights, config, image).tokens);
  try {
    return (await tokens.data()) as Float32Array;
  } finally {
    tokens.dispose();
  }
}

/** Prunes a quarter by disturbed Taylor on the tokens: `prune` as a user would use it. */
export async function pruneByTaylor<T extends Vit>(
  vit: T,
  how: { dimensions: string[][]; ranking: 'local' | 'global' },
  images: tf.Tensor4D[],
): Promise<T> {
  const { weights, config } = vit;
  const depended = Object.fromEntries(
    Object.entries(weights).filter(([name]) => !/^(head|pooler|mask_token)/.test(name)),
  );
  const gradients = await accumulateGradients({
    weights: depended,
    batches: images,
    loss: (table, image: tf.Tensor4D, { index }) => {
      const { tokens } = vitFeatures(table, config, image);
      return disturbedLoss(tokens, noise(tokens.shape, { seed: index }));
    },
  });
  const axes = vitAxes(weights, config);
  const keep: Record<string, number[]> = {};
  for (const dimensions of how.dimensions) {
    const scores = await importance({ criterion: 'taylor', weights: depended, axes, dimensions, gradients });
    Object.assign(keep, select({ importance: scores, ratio: 0.25, ranking: how.ranking, normalise: 'mean' }).keep);
  }
  tf.dispose(gradients.sums);
  return { ...vit, weights: prune(weights, axes, keep) };
}

/** All channels but every step-th. */
export const every = (size: number, step: number): number[] =>
  Array.from({ length: size }, (_, i) => i).filter((i) => i % step !== 0);

/** Largest difference, as a share of the largest value. */
export function differenceOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  const largest = (of: (i: number) => number) =>
    Array.from(a, (_, i) => Math.abs(of(i))).reduce((x, y) => Math.max(x, y));
  return largest((i) => a[i]! - b[i]!) / largest((i) => b[i]!);
}

/** The weights with zeros for the channels of a dimension that are not kept. */
export function zeroed({ weights, config }: Vit, dimension: string, kept: readonly number[]): Weights {
  return zeroChannels(weights, vitAxes(weights, config), { [dimension]: kept });
}
