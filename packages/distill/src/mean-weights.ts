import { checkFields, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/**
 * The mean of the weights of several runs, name by name. Runs that went on from the same weights with other batches are better together than each is
 * alone (Wortsman et al., Model soups, arXiv 2203.05482); runs from other random weights are not.
 *
 * @returns new tensors
 * @throws when there are none, or names or shapes differ
 */
export function meanWeights(runs: readonly Weights[]): Weights {
  checkFields('meanWeights', { runs }, { runs: 'list' });
  const [first, ...others] = runs;
  if (!first) throw new Error('meanWeights: expected weights of one run or more, got none');
  const names = Object.keys(first);
  for (const [i, other] of others.entries()) {
    const name = [...names, ...Object.keys(other)].find((name) => `${first[name]?.shape}` !== `${other[name]?.shape}`);
    if (name !== undefined)
      throw new Error(
        `meanWeights: expected the same names and shapes in each run, got '${name}' [${first[name]?.shape ?? 'none'}] in the first and [${other[name]?.shape ?? 'none'}] in number ${i + 2}; give runs of one model`,
      );
  }
  return tf.tidy(() =>
    Object.fromEntries(names.map((name) => [name, tf.div(tf.addN(runs.map((run) => run[name]!)), runs.length)])),
  );
}
