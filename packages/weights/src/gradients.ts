import * as tf from '@tensorflow/tfjs-core';
import { checkFields } from './check-fields.ts';
import { checkTape, discard, newTape, record, walkBack } from './tape.ts';
import type { Weights } from './weights.ts';

/** A loss and its gradients by name; the caller disposes both. */
export interface ValueAndGradients {
  /** [] */
  readonly value: tf.Scalar;
  /** Of the weights' shapes, for those that the loss reaches. */
  readonly gradients: Weights;
}

/**
 * Differentiates a scalar loss by the weights. What the forward pass has saved, and the gradient of each intermediate, is freed as
 * soon as the backward pass has used it; TensorFlow.js's `grads` holds everything to its end.
 *
 * @throws when the loss is no scalar or depends on no weight, an op on the way has no gradient, another differentiation is under way, or tfjs-core has another tape; all is freed by then
 */
export function valueAndGradients(weights: Weights, loss: () => tf.Scalar): ValueAndGradients {
  checkFields('valueAndGradients', { weights, loss }, { weights: 'object', loss: 'function' });
  const { state } = tf.engine();
  if (state.gradientDepth > 0)
    throw new Error('valueAndGradients: expected no differentiation under way, got one; use tf.grads in there');
  checkTape();
  const tape = newTape();
  let value: tf.Scalar | undefined;
  try {
    value = record(tape, () => tf.clone(loss()));
    if (value.rank !== 0)
      throw new Error(`valueAndGradients: expected a scalar loss, got shape [${value.shape}]; take a mean`);
    const gradients = walkBack(tape, new Map([[value.id, tf.onesLike(value)]]), weights);
    if (Object.keys(gradients).length === 0)
      throw new Error('valueAndGradients: expected a loss that depends on a weight, got one that depends on none');
    return { value, gradients };
  } catch (error) {
    value?.dispose();
    discard(tape);
    throw error;
  }
}
