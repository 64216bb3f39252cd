import { accumulateGradients, disturbedLoss, importance, noise, prune, select } from '@slimsam/prune';
import { dims, factorsOf, type Weights } from '@slimsam/weights';
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
  const { gradients } = await accumulateGradients({
    weights: depended,
    batches: images,
    loss: (table, image: tf.Tensor4D) => {
      const { tokens } = vitFeatures(table, config, image);
      return disturbedLoss(tokens, noise(tokens.shape, { seed: 3 }));
    },
  });
  const axes = vitAxes(weights, config);
  const keep: Record<string, number[]> = {};
  for (const dimensions of how.dimensions) {
    const scores = await importance({ criterion: 'disturbed-taylor', weights: depended, axes, dimensions, gradients });
    Object.assign(keep, select({ importance: scores, ratio: 0.25, ranking: how.ranking, normalise: 'mean' }));
  }
  tf.dispose(gradients);
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

/** The weights with zeros for the channels of a dimension that are not kept; it is the last factor of its axes. */
export function zeroed({ weights, config }: Vit, dimension: string, kept: readonly number[]): Weights {
  const axes = vitAxes(weights, config);
  const { size } = dims(axes, weights).get(dimension)!;
  const mask = tf.tensor1d(Float32Array.from({ length: size }, (_, i) => (kept.includes(i) ? 1 : 0)));
  const entries = Object.entries(weights).map(([name, weight]) => {
    const axis = axes[name]!.findIndex((factors) => factorsOf(factors).at(-1) === dimension);
    if (axis < 0) return [name, weight] as const;
    const after = weight.shape.slice(axis + 1).reduce((product, length) => product * length, 1);
    const parts = tf.reshape(weight, [-1, size, after]); // [before, size, after]
    return [name, tf.reshape(tf.mul(parts, tf.reshape(mask, [1, size, 1])), weight.shape)] as const;
  });
  return Object.fromEntries(entries);
}
