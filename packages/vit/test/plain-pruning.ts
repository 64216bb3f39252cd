import { accumulateGradients, disturbedLoss, importance, noise, prune, select } from '@slimsam/prune';
import * as tf from '@tensorflow/tfjs-core';
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
