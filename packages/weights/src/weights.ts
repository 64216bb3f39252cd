import type * as tf from '@tensorflow/tfjs-core';
import { checkFields } from './check-fields.ts';

/** Named weights: checkpoint names (Meta's SAM names are canonical) and PyTorch layouts. */
export type Weights = Readonly<Record<string, tf.Tensor>>;

/** Looks a weight up by its short name. @throws when the weight is missing, naming the nearest ones */
export type Scope = (name: string) => tf.Tensor;

/**
 * Gives the weights under a prefix short names: `scope(weights, 'blocks.3.attn')('qkv.weight')`.
 *
 * @param prefix without its last dot; '' for all weights
 */
export function scope(weights: Weights, prefix: string): Scope {
  if (typeof weights !== 'object' || weights === null)
    throw new Error(`scope: expected a table of weights, got ${String(weights)}`);
  return (name) => {
    const full = prefix === '' ? name : `${prefix}.${name}`;
    const tensor = weights[full];
    if (tensor) return tensor;
    const nearest = nearestNames(full, Object.keys(weights));
    const hint = nearest.length > 0 ? `the nearest names are ${nearest.join(', ')}` : 'there are no weights at all';
    throw new Error(`scope: expected weight '${full}', got none; ${hint}`);
  };
}

/** Frees every tensor of a table. */
export function disposeWeights(weights: Weights): void {
  checkFields('disposeWeights', { weights }, { weights: 'object' });
  for (const tensor of Object.values(weights)) tensor.dispose();
}

/** The three names that share the most with `name` at its start and its end. */
function nearestNames(name: string, candidates: readonly string[]): string[] {
  const shared = (other: string): number => {
    const limit = Math.min(name.length, other.length);
    let start = 0;
    while (start < limit && name[start] === other[start]) start++;
    let end = 0;
    while (end < limit - start && name[name.length - 1 - end] === other[other.length - 1 - end]) end++;
    return start + end;
  };
  return candidates
    .map((candidate) => ({ candidate, score: shared(candidate) }))
    .sort((a, b) => b.score - a.score)
    .slice(0, 3)
    .map(({ candidate }) => `'${candidate}'`);
}
