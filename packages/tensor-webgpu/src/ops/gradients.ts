/** Registers tfjs-core's gradients, which its Node entry leaves out, in the registry that all its copies share. */
import * as tf from '@tensorflow/tfjs-core'; // first, so that the shared engine is this copy's
import '#tfjs-gradients';
import { hasKernel, runFused } from './fused.ts';

/** Softmax's, dx = (dy - sum(dy y)) y over the last axis, in one kernel where the backend has it. */
tf.registerGradient({
  kernelName: tf.Softmax,
  outputsToSave: [true],
  gradFunc: (gradient, saved) => {
    const dy = gradient as tf.Tensor;
    const y = saved[0]!;
    if (hasKernel('SoftmaxGrad')) return { logits: () => runFused('SoftmaxGrad', { y, dy })[0]! };
    return { logits: () => tf.mul(tf.sub(dy, tf.sum(tf.mul(dy, y), -1, true)), y) };
  },
});
