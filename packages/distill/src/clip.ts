import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Optimizer } from './adam.ts';

/**
 * An optimizer that first scales all gradients alike, so that their norm is `norm` at most: g <- g min(1, norm / |g|), |g| over all
 * weights together (torch.nn.utils.clip_grad_norm_).
 *
 * @throws when the norm is not above 0
 */
export function clipped(optimizer: Optimizer, options: { readonly norm: number }): Optimizer {
  checkFields('clipped', optimizer, { init: 'function', update: 'function' });
  checkFields('clipped', options, { norm: 'number' });
  const { norm } = options;
  if (!(norm > 0)) throw new Error(`clipped: expected norm above 0, got ${norm}; leave clipped() out for none`);
  return {
    init: optimizer.init,
    update: ({ weights, gradients, state }, learningRate) => {
      const entries = Object.entries(gradients);
      const scaled = tf.tidy(() => {
        const squares = entries.map(([, gradient]) => tf.sum(tf.square(gradient)));
        const length = tf.sqrt(tf.sum(tf.stack(squares)));
        const factor = tf.minimum(1, tf.div(norm, tf.add(length, 1e-12)));
        return Object.fromEntries(entries.map(([name, gradient]) => [name, tf.mul(gradient, factor)]));
      });
      tf.dispose(gradients);
      return optimizer.update({ weights, gradients: scaled, state }, learningRate);
    },
  };
}
