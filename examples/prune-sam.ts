import { accumulateGradients, disturbedLoss, importance, noise, prune, select } from '@slimsam/prune';
import { bottleneckTaps, encodeImage, encoderAxes } from '@slimsam/vit';
import { disposeWeights, type Weights } from '@slimsam/weights';
import type * as tf from '@tensorflow/tfjs-core';
import { oneByOne, type Recipe } from './recipe.ts';

/** How many images are enough for the scores. */
export const scored = 64;

/** Hears how many images have been scored. */
export type OnScored = (count: number) => void;

/** Removes channels of the residual stream, ranked by disturbed Taylor importance. */
export async function pruneEmbedding(weights: Weights, recipe: Recipe, onScored?: OnScored): Promise<Weights> {
  return pruneBy(weights, recipe, { dimensions: [['embed']], ranking: 'local', normalise: 'mean' }, onScored);
}

/** Removes channels of heads and MLPs, each kind ranked over all blocks. */
export async function pruneBottleneck(weights: Weights, recipe: Recipe, onScored?: OnScored): Promise<Weights> {
  const blocks = bottleneckTaps(weights, recipe.config).mlpHidden.map((_, i) => i);
  const dimensions = [blocks.map((i) => `blocks.${i}.head`), blocks.map((i) => `blocks.${i}.mlp`)];
  return pruneBy(weights, recipe, { dimensions, ranking: 'global', normalise: 'standard' }, onScored);
}

async function pruneBy(
  weights: Weights,
  { config, images, ratio, seed, signal }: Recipe,
  how: { dimensions: string[][]; ranking: 'local' | 'global'; normalise: 'mean' | 'standard' },
  onScored?: OnScored,
): Promise<Weights> {
  const encoder = Object.fromEntries(Object.entries(weights).filter(([name]) => name.startsWith('image_encoder.')));
  const loss = (weights: Weights, batch: tf.Tensor4D, { index }: { index: number }) => {
    onScored?.(index + 1);
    const { embedding } = encodeImage(weights, config, batch);
    return disturbedLoss(embedding, noise(embedding.shape, { seed: seed * 1_000_003 + index }));
  };
  const batches = oneByOne(images.slice(0, scored), config);
  const gradients = await accumulateGradients({ loss, weights: encoder, batches, signal });
  const axes = encoderAxes(weights, config);
  const keep: Record<string, number[]> = {};
  for (const dimensions of how.dimensions) {
    const scores = await importance({ criterion: 'taylor', weights, axes, dimensions, gradients });
    Object.assign(keep, select({ importance: scores, ratio, ranking: how.ranking, normalise: how.normalise }).keep);
  }
  disposeWeights(gradients.sums);
  return prune(weights, axes, keep);
}
