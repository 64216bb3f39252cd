import * as tf from '@tensorflow/tfjs-core';
import { expectTensor, hasKernel, runFused } from './fused.ts';

export interface LayerNormOptions {
  /** [C] */
  readonly scale: tf.Tensor;
  /** [C] */
  readonly offset: tf.Tensor;
  /** Added to the variance; 1e-6 unless given. */
  readonly epsilon?: number;
}

/**
 * (x - mean) / sqrt(variance + epsilon) * scale + offset over the last dimension, composed of TensorFlow.js ops: [..., C] -> [..., C].
 *
 * @throws when `scale` or `offset` is not [C]
 */
export function layerNormReference<T extends tf.Tensor>(x: T, { scale, offset, epsilon = 1e-6 }: LayerNormOptions): T {
  checkLayerNorm(x, scale, offset);
  return tf.tidy(() => {
    const centred = tf.sub(x, tf.mean(x, -1, true));
    const variance = tf.mean(tf.square(centred), -1, true);
    const normal = tf.mul(centred, tf.rsqrt(tf.add(variance, epsilon)));
    return tf.add(tf.mul(normal, scale), offset) as T;
  });
}

/**
 * Layer normalisation over the last dimension, with the biased variance as in torch.nn.LayerNorm: [..., C] -> [..., C].
 *
 * y = (x - mean) / sqrt(variance + epsilon) * scale + offset
 *
 * @throws when `scale` or `offset` is not [C]
 */
export function layerNorm<T extends tf.Tensor>(x: T, options: LayerNormOptions): T {
  if (!hasKernel('LayerNorm') || x.size === 0) return layerNormReference(x, options);
  const { scale, offset, epsilon = 1e-6 } = options;
  checkLayerNorm(x, scale, offset);
  return tf.tidy(() => runFused('LayerNorm', { x, scale, offset }, { epsilon })[0] as T);
}

tf.registerGradient({
  kernelName: 'LayerNorm',
  inputsToSave: ['x', 'scale'],
  outputsToSave: [false, true],
  gradFunc: (dy, saved) => {
    const [x, scale, statistics] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
    // before the thunks, since each thunk is tidied on its own
    const gradients = runFused('LayerNormGrad', { x, scale, statistics, dy: (dy as tf.Tensor[])[0]! });
    return { x: () => gradients[0]!, scale: () => gradients[1]!, offset: () => gradients[2]! };
  },
});

function checkLayerNorm(x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor): void {
  if (x.rank === 0 || x.dtype !== 'float32') {
    throw new Error(
      `layerNorm: expected x [..., C] float32, got [${x.shape}] ${x.dtype}; the last dimension is normalised`,
    );
  }
  const C = x.shape[x.rank - 1]!;
  expectTensor('layerNorm: expected scale', scale, [C], 'C', `x is [${x.shape}]`);
  expectTensor('layerNorm: expected offset', offset, [C], 'C', `x is [${x.shape}]`);
}
