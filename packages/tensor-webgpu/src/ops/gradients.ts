/** Registers tfjs-core's gradients, which its Node entry leaves out, in the registry that all its copies share. */
import * as tf from '@tensorflow/tfjs-core'; // first, so that the shared engine is this copy's
import '#tfjs-gradients';
import { correctedGradients } from './corrected-gradients.ts';
import { hasKernel, runFused } from './fused.ts';

/** Softmax's, dx = (dy - sum(dy y)) y over the last axis, in one kernel where the backend has it. */
const softmax: tf.GradConfig = {
  kernelName: tf.Softmax,
  outputsToSave: [true],
  gradFunc: (gradient, saved) => {
    const dy = gradient as tf.Tensor;
    const y = saved[0]!;
    if (hasKernel('SoftmaxGrad')) return { logits: () => runFused('SoftmaxGrad', { y, dy })[0]! };
    return { logits: () => tf.mul(tf.sub(dy, tf.sum(tf.mul(dy, y), -1, true)), y) };
  },
};

/** Sum's and Mean's, dy spread over the axes. tfjs-core multiplies it by ones that are made on the host and uploaded, as large as x. */
const sums = [tf.Sum, tf.Mean].map(
  (kernelName): tf.GradConfig => ({
    kernelName,
    inputsToSave: ['x'],
    gradFunc: (gradient, saved, attributes) => {
      const x = saved[0]!;
      const axes = tf.util.parseAxisParam(attributes.axis as number | number[], x.shape);
      const kept = x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
      const count = axes.reduce((product, axis) => product * x.shape[axis]!, 1);
      const spread = () => {
        const dy = tf.reshape(gradient as tf.Tensor, kept);
        return tf.broadcastTo(kernelName === tf.Mean ? tf.div(dy, count) : dy, x.shape as tf.ShapeMap[tf.Rank]);
      };
      return { x: spread };
    },
  }),
);

/** Puts our gradients of TensorFlow.js's kernels in the place of its own, which whoever imports `@tensorflow/tfjs` or tfjs-node puts back. */
export function registerGradients(): void {
  for (const gradient of [softmax, ...sums, ...correctedGradients]) tf.registerGradient(gradient);
}

registerGradients();
