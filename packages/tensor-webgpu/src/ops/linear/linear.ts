import * as tf from '@tensorflow/tfjs-core';
import { expectTensor, expectTensors, hasKernel, runFused } from '../fused.ts';
import { gelu, geluReference } from '../gelu/gelu.ts';

/** What follows a linear layer: the exact GELU, or max(0, y). */
export type LinearActivation = 'gelu' | 'relu';

export interface LinearOptions {
  /** [O, I], as torch.nn.Linear stores it. */
  readonly weight: tf.Tensor;
  /** [O] */
  readonly bias?: tf.Tensor | undefined;
  readonly activation?: LinearActivation | undefined;
  /** [..., O], added to the result: the stream that the layer's output goes back to. */
  readonly residual?: tf.Tensor | undefined;
}

/** activation(x W' + bias) + residual, composed of TensorFlow.js ops: [..., I] -> [..., O]. @throws when the shapes disagree */
export function linearReference<T extends tf.Tensor>(x: T, options: LinearOptions): T {
  expectTensors('linear', { x, weight: options?.weight });
  const { weight, bias, activation, residual } = options;
  checkLinear(x, options);
  const [O, I] = weight.shape as [number, number];
  return tf.tidy(() => {
    const rows = tf.reshape(x, [-1, I]) as tf.Tensor2D; // [..., I] -> [rows, I]
    const product = tf.matMul(rows, weight as tf.Tensor2D, false, true);
    const y = tf.reshape(bias ? tf.add(product, bias) : product, [...x.shape.slice(0, -1), O]) as T; // [rows, O] -> [..., O]
    return plus(activated(y, activation, geluReference), residual);
  });
}

/**
 * A linear layer on PyTorch's weight layout, activation(x W' + bias) + residual: [..., I] -> [..., O]. With a bias it is one kernel; where gradients
 * are recorded an activation is one of its own, since its gradient needs what comes before it.
 *
 * @throws when the shapes disagree
 */
export function linear<T extends tf.Tensor>(x: T, options: LinearOptions): T {
  expectTensors('linear', { x, weight: options?.weight });
  const { weight, bias, activation, residual } = options;
  checkLinear(x, options);
  const composed = !bias || weight.shape[1] === 0 || x.size === 0 || !hasKernel('LinearBias');
  if (composed) return tf.tidy(() => plus(activated(linearReference(x, { weight, bias }), activation, gelu), residual));
  const within = tf.engine().state.gradientDepth === 0 ? activation : undefined;
  const layer = (own: { readonly residual?: tf.Tensor }) =>
    runFused('LinearBias', { x, weight, bias, ...own }, within && { activation: within })[0] as T;
  if (activation === within) return layer(residual ? { residual } : {});
  return tf.tidy(() => plus(activated(layer({}), activation, gelu), residual));
}

const plus = <T extends tf.Tensor>(y: T, residual: tf.Tensor | undefined): T =>
  residual ? (tf.add(y, residual) as T) : y;

function activated<T extends tf.Tensor>(y: T, activation: LinearActivation | undefined, gelu: (y: T) => T): T {
  if (activation === undefined) return y;
  return activation === 'gelu' ? gelu(y) : (tf.relu(y) as T);
}

tf.registerGradient({
  kernelName: 'LinearBias',
  inputsToSave: ['x', 'weight'],
  gradFunc: (gradient, saved) => {
    const [x, weight] = saved as [tf.Tensor, tf.Tensor];
    const dy = gradient as tf.Tensor;
    return {
      x: () => runFused('LinearInputGrad', { dy, weight })[0]!,
      weight: () => runFused('LinearWeightGrad', { dy, x })[0]!,
      bias: () => runFused('LinearBiasGrad', { dy })[0]!,
      residual: () => tf.clone(dy),
    };
  },
});

function checkLinear(x: tf.Tensor, { weight, bias, activation, residual }: LinearOptions): void {
  if (activation !== undefined && activation !== 'gelu' && activation !== 'relu')
    throw new Error(`linear: expected activation 'gelu' or 'relu', got '${activation}'; apply it to the result`);
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
  if (residual)
    expectTensor('linear: expected residual', residual, [...x.shape.slice(0, -1), O], '', `x is [${x.shape}]`);
}
