import * as tf from '@tensorflow/tfjs-core';
import { expectTensor, hasKernel, runFused } from './fused.ts';

export interface LinearOptions {
  /** [O, I], as torch.nn.Linear stores it. */
  readonly weight: tf.Tensor;
  /** [O] */
  readonly bias?: tf.Tensor | undefined;
}

/** x W' + bias, composed of TensorFlow.js ops: [..., I] -> [..., O]. @throws when the shapes disagree */
export function linearReference<T extends tf.Tensor>(x: T, { weight, bias }: LinearOptions): T {
  checkLinear(x, weight, bias);
  const [O, I] = weight.shape as [number, number];
  return tf.tidy(() => {
    const rows = tf.reshape(x, [-1, I]) as tf.Tensor2D; // [..., I] -> [rows, I]
    const product = tf.matMul(rows, weight as tf.Tensor2D, false, true);
    return tf.reshape(bias ? tf.add(product, bias) : product, [...x.shape.slice(0, -1), O]) as T; // [rows, O] -> [..., O]
  });
}

/** A linear layer on PyTorch's weight layout, y = x W' + bias: [..., I] -> [..., O]. @throws when the shapes disagree */
export function linear<T extends tf.Tensor>(x: T, options: LinearOptions): T {
  const { weight, bias } = options;
  if (!bias || !hasKernel('LinearBias')) return linearReference(x, options);
  checkLinear(x, weight, bias);
  const [O, I] = weight.shape as [number, number];
  return tf.tidy(() => {
    const rows = tf.reshape(x, [-1, I]); // [..., I] -> [rows, I]
    const y = runFused('LinearBias', { x: rows, weight, bias })[0]!;
    return tf.reshape(y, [...x.shape.slice(0, -1), O]) as T; // [rows, O] -> [..., O]
  });
}

tf.registerGradient({
  kernelName: 'LinearBias',
  inputsToSave: ['x', 'weight'],
  gradFunc: (gradient, saved) => {
    const [x, weight] = saved as [tf.Tensor2D, tf.Tensor2D];
    const dy = gradient as tf.Tensor2D;
    return {
      x: () => tf.matMul(dy, weight),
      weight: () => tf.matMul(dy, x, true, false),
      bias: () => tf.sum(dy, 0),
    };
  },
});

function checkLinear(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor | undefined): void {
  expectTensor(
    'linear: expected weight',
    weight,
    [null, null],
    'O, I',
    'weights are stored as torch.nn.Linear stores them',
  );
  const [O, I] = weight.shape as [number, number];
  if (x.rank === 0 || x.shape[x.rank - 1] !== I || x.dtype !== 'float32') {
    throw new Error(`linear: expected x [..., ${I}] float32, got [${x.shape}] ${x.dtype}; weight is [${weight.shape}]`);
  }
  if (bias) expectTensor('linear: expected bias', bias, [O], 'O', `weight is [${weight.shape}]`);
}
