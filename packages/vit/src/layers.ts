import { type LinearOptions, layerNorm, linear } from '@slimsam/tensor-webgpu/ops';
import type { Scope } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** A linear layer by its checkpoint name, with what follows it and what it is added to: x [..., I] -> [..., O]. */
export function dense(
  weight: Scope,
  name: string,
  x: tf.Tensor,
  { activation, residual }: Pick<LinearOptions, 'activation' | 'residual'> = {},
): tf.Tensor {
  return linear(x, { weight: weight(`${name}.weight`), bias: weight(`${name}.bias`), activation, residual });
}

/** A layer norm over the last axis, by its checkpoint name. */
export function norm(weight: Scope, name: string, x: tf.Tensor, epsilon = 1e-6): tf.Tensor {
  return layerNorm(x, {
    scale: weight(`${name}.weight`),
    offset: weight(`${name}.bias`),
    epsilon,
  });
}

/** A 1 x 1 convolution, weight [O, I, 1, 1], of x [B, H, W, I] -> [B, H, W, O]. */
export function pointwise(weight: Scope, name: string, x: tf.Tensor, options: { readonly bias: boolean }): tf.Tensor {
  const kernel = weight(`${name}.weight`);
  const [O, I] = kernel.shape as [number, number];
  return linear(x, {
    weight: tf.reshape(kernel, [O, I]),
    ...(options.bias && { bias: weight(`${name}.bias`) }),
  });
}

/** A 3 x 3 convolution with padding 1 and no bias, weight [O, I, 3, 3], of x [B, H, W, I] -> [B, H, W, O]. */
export function convolution3x3(weight: Scope, name: string, x: tf.Tensor): tf.Tensor {
  const kernel = tf.transpose(weight(`${name}.weight`), [2, 3, 1, 0]) as tf.Tensor4D; // [3, 3, I, O]
  return tf.conv2d(x as tf.Tensor4D, kernel, 1, 'same');
}

/** A convolution whose stride is its size s, weight [O, I, s, s] and bias, of x [B, H, W, I] -> [B, H / s, W / s, O]. */
export function patchConvolution(weight: Scope, name: string, x: tf.Tensor): tf.Tensor {
  const kernel = weight(`${name}.weight`);
  const [O, I, s] = kernel.shape as [number, number, number];
  const [B, H, W] = x.shape as [number, number, number];
  const patches = tf.transpose(tf.reshape(x, [B, H / s, s, W / s, s, I]), [0, 1, 3, 5, 2, 4]); // [B, H/s, W/s, I, s, s]
  return linear(tf.reshape(patches, [B, H / s, W / s, I * s * s]), {
    weight: tf.reshape(kernel, [O, I * s * s]),
    bias: weight(`${name}.bias`),
  });
}

/** A transposed convolution of size and stride 2, weight [I, O, 2, 2] and bias, of x [B, H, W, I] -> [B, 2H, 2W, O]. */
export function upscale2x(weight: Scope, name: string, x: tf.Tensor): tf.Tensor {
  const kernel = weight(`${name}.weight`);
  const [I, O] = kernel.shape as [number, number];
  const [B, H, W] = x.shape as [number, number, number];
  const toPixels = tf.reshape(tf.transpose(kernel, [2, 3, 1, 0]), [4 * O, I]); // [2, 2, O] x I
  const bias = tf.tile(weight(`${name}.bias`), [4]);
  const pixels = tf.reshape(linear(x, { weight: toPixels, bias }), [B, H, W, 2, 2, O]);
  return tf.reshape(tf.transpose(pixels, [0, 1, 3, 2, 4, 5]), [B, 2 * H, 2 * W, O]);
}
