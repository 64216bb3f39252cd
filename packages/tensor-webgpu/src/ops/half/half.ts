import * as tf from '@tensorflow/tfjs-core';
import { expectTensors, hasKernel, runFused } from '../fused.ts';

/**
 * The values rounded to half precision (float16) and stored in two bytes each; any shape.
 *
 * The tensor's dtype stays float32, since TensorFlow.js knows no other, and every op takes it. Views, transposes, slices, paddings and
 * concatenations of it are in half precision too, and so are the results of `linear` with such a weight and a bias, of `matMul` of two
 * such tensors, of `attention` to such queries, keys and values, and of `layerNorm` and `gelu` of such an x. All of these add up in
 * float32; other ops give float32. Gradients are float32, that of `half` itself is its output's.
 *
 * `tf.memory()` counts four bytes a value all the same, `backend.memory()` what there is.
 *
 * Values keep 11 bits (relative error 2^-11; WGSL allows twice that), below 6e-5 they are multiples of 6e-8, and beyond 65504 they
 * become infinite.
 *
 * @throws when x is not float32, the backend is another one, or its adapter has no shader-f16 (`backend.facts.features` tells)
 */
export function half<T extends tf.Tensor>(x: T): T {
  expectTensors('half', { x });
  if (x.dtype !== 'float32') throw new Error(`half: expected x float32, got ${x.dtype}; cast it with tf.cast`);
  if (!hasKernel('Half'))
    throw new Error(
      `half: expected the backend that useWebgpu() opens, got '${tf.getBackend()}', which has no half precision; keep to float32 on it`,
    );
  return runFused('Half', { x })[0] as T;
}

tf.registerGradient({ kernelName: 'Half', gradFunc: (dy) => ({ x: () => tf.clone(dy as tf.Tensor) }) });
