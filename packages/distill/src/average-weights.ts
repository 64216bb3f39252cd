import { checkFields, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/**
 * An exponential mean of weights over steps: average + (1 - decay) (weights - average), name by name; the weights themselves where there is
 * no average yet. Validated and saved, it is better than the last step's weights while the learning rate is high.
 *
 * @returns new tensors, the caller's; the given average is disposed
 */
export function averageWeights(
  average: Weights | undefined,
  weights: Weights,
  options: { readonly decay: number },
): Weights {
  checkFields('averageWeights', { average, weights }, { average: 'object?', weights: 'object' });
  checkFields('averageWeights', options, { decay: 'number' });
  const { decay } = options;
  if (!(decay >= 0 && decay < 1)) throw new Error(`averageWeights: expected decay in [0, 1), got ${decay}`);
  const next = tf.tidy(() =>
    Object.fromEntries(
      Object.entries(weights).map(([name, weight]) => {
        const before = average?.[name];
        return [name, before ? tf.add(before, tf.mul(tf.sub(weight, before), 1 - decay)) : tf.clone(weight)];
      }),
    ),
  );
  if (average) tf.dispose(Object.values(average));
  return next;
}
