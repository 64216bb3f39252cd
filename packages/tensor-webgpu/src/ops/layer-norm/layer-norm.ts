import * as tf from '@tensorflow/tfjs-core';
import { expectTensor, expectTensors, hasKernel, runFused } from '../fused.ts';

export interface LayerNormOptions {
  /** [C] */
  readonly scale: tf.Tensor;
  /** [C] */
  readonly offset: tf.Tensor;
  /** Added to the variance; 1e-6 unless given. */
  readonly epsilon?: number;
  /** Which dimension is C: the last one unless given, or 1 for maps whose channels come first, as SAM's LayerNorm2d on [B, C, H, W]. */
  readonly axis?: -1 | 1;
}

/**
 * (x - mean) / sqrt(variance + epsilon) * scale + offset over one dimension, composed of TensorFlow.js ops: x's shape.
 *
 * @throws when `scale` or `offset` is not [C]
 */
export function layerNormReference<T extends tf.Tensor>(x: T, options: LayerNormOptions): T {
  expectTensors('layerNorm', { x, scale: options?.scale, offset: options?.offset });
  const { scale, offset, epsilon = 1e-6 } = options;
  const axis = checkLayerNorm(x, options);
  return tf.tidy(() => {
    const centred = tf.sub(x, tf.mean(x, axis, true));
    const variance = tf.mean(tf.square(centred), axis, true);
    const normal = tf.mul(centred, tf.rsqrt(tf.add(variance, epsilon)));
    const along = (values: tf.Tensor) => tf.reshape(values, [-1, ...x.shape.slice(axis + 1).map(() => 1)]); // [C] -> [C, 1, …]
    return tf.add(tf.mul(normal, along(scale)), along(offset)) as T;
  });
}

/**
 * Layer normalisation over the last dimension, or over dimension 1, with the biased variance as in torch.nn.LayerNorm: x's shape.
 *
 * y = (x - mean) / sqrt(variance + epsilon) * scale + offset
 *
 * @throws when `scale` or `offset` is not [C]
 */
export function layerNorm<T extends tf.Tensor>(x: T, options: LayerNormOptions): T {
  expectTensors('layerNorm', { x, scale: options?.scale, offset: options?.offset });
  if (!hasKernel('LayerNorm') || x.size === 0) return layerNormReference(x, options);
  const { scale, offset, epsilon = 1e-6 } = options;
  const axis = checkLayerNorm(x, options);
  return tf.tidy(() => runFused('LayerNorm', { x, scale, offset }, { axis, epsilon })[0] as T);
}

tf.registerGradient({
  kernelName: 'LayerNorm',
  inputsToSave: ['x', 'scale'],
  outputsToSave: [false, true],
  gradFunc: (dy, saved, attrs) => {
    const [x, scale, statistics] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
    // before the thunks, since each thunk is tidied on its own
    const inputs = { x, scale, statistics, dy: (dy as tf.Tensor[])[0]! };
    const gradients = runFused('LayerNormGrad', inputs, { axis: attrs.axis as number });
    return { x: () => gradients[0]!, scale: () => gradients[1]!, offset: () => gradients[2]! };
  },
});

/** Gives the axis, counted from 0. */
function checkLayerNorm(x: tf.Tensor, { scale, offset, axis = -1 }: LayerNormOptions): number {
  if (axis !== -1 && axis !== 1) throw new Error(`layerNorm: expected axis -1 or 1, got ${axis}; transpose x`);
  if (x.rank < (axis === 1 ? 2 : 1) || x.dtype !== 'float32') {
    const wanted = axis === 1 ? '[B, C, ...]' : '[..., C]';
    throw new Error(`layerNorm: expected x ${wanted} float32, got [${x.shape}] ${x.dtype}; C is normalised`);
  }
  const from = axis === 1 ? 1 : x.rank - 1;
  const C = x.shape[from]!;
  expectTensor('layerNorm: expected scale', scale, [C], 'C', `x is [${x.shape}]`);
  expectTensor('layerNorm: expected offset', offset, [C], 'C', `x is [${x.shape}]`);
  return from;
}
