import { checkFields, type FileTarget, saveWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Vit } from './load-vit.ts';

/**
 * Saves a plain ViT as safetensors so that `loadVit` gives it back: under the names of the file that it was loaded from, q, k and v split
 * if they were, else under timm's. The config stands in the metadata as `vit_config`. A ViT that was not pruned is, beside its own
 * config.json, what transformers and timm read; they have no config for pruned heads.
 *
 * @throws when a weight has no place in that file (leave `origins` out to write timm's names), the file cannot be written (an old one
 *   then stays), or a value is beyond F16's +-65504
 */
export async function saveVit(
  target: FileTarget,
  vit: Vit,
  options: { readonly dtype?: 'F32' | 'F16' } = {},
): Promise<void> {
  checkFields('saveVit', { options }, { options: 'object' });
  checkFields('saveVit', vit, { weights: 'object', config: 'object' });
  const { weights, config, origins } = vit;
  const unplaced = Object.keys(weights).find(
    (name) => origins && !Object.hasOwn(origins, name) && name !== 'projection.weight', // ours alone
  );
  if (unplaced !== undefined)
    throw new Error(
      `saveVit: expected every weight to have its place in origins, got none for '${unplaced}'; leave origins out to write timm's names`,
    );
  const named = tf.tidy(() => {
    const entries = Object.entries(weights).flatMap(([name, weight]) => {
      const { names, rank } = origins?.[name] ?? { names: [name], rank: weight.rank };
      const parts = names.length === 1 ? [weight] : tf.split(weight, names.length);
      return parts.map((part, i) => [names[i]!, tf.reshape(part, part.shape.slice(part.rank - rank))] as const);
    });
    return Object.fromEntries(entries);
  });
  try {
    await saveWeights(target, named, {
      ...options,
      metadata: { format: 'pt', vit_config: JSON.stringify(config) },
    });
  } finally {
    tf.dispose(named);
  }
}
