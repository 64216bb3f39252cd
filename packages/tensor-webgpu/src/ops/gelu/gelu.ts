import * as tf from '@tensorflow/tfjs-core';
import { expectTensors, hasKernel, runFused } from '../fused.ts';

/** 0.5 x (1 + erf(x / sqrt(2))), composed of TensorFlow.js ops; any shape. @throws when x is not float32 */
export function geluReference<T extends tf.Tensor>(x: T): T {
  expectTensors('gelu', { x });
  checkGelu(x);
  return tf.tidy(() => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)) as T);
}

/** The exact GELU, 0.5 x (1 + erf(x / sqrt(2))), as torch.nn.GELU(); any shape. @throws when x is not float32 */
export function gelu<T extends tf.Tensor>(x: T): T {
  expectTensors('gelu', { x });
  if (!hasKernel('Gelu')) return geluReference(x);
  checkGelu(x);
  return runFused('Gelu', { x })[0] as T;
}

tf.registerGradient({
  kernelName: 'Gelu',
  inputsToSave: ['x'],
  gradFunc: (dy, saved) => ({ x: () => runFused('GeluGrad', { x: saved[0]!, dy: dy as tf.Tensor })[0]! }),
});

function checkGelu(x: tf.Tensor): void {
  if (x.dtype !== 'float32') throw new Error(`gelu: expected x float32, got ${x.dtype}; cast it with tf.cast`);
}
