import * as tf from '@tensorflow/tfjs-core';
import { expectTensor, expectTensors, hasKernel, runFused } from '../fused.ts';

/** One weight, its gradient and its moments, all of one shape. */
export interface AdamTensors {
  readonly weight: tf.Tensor;
  readonly gradient: tf.Tensor;
  readonly m: tf.Tensor;
  readonly v: tf.Tensor;
}

export interface AdamOptions {
  /** From 1. */
  readonly step: number;
  readonly learningRate: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Decoupled: the weight shrinks by learningRate * weightDecay. */
  readonly weightDecay?: number;
  /**
   * Nothing reads the values of weight, m and v after this step, so that they may be written over where no other tensor shares them; they
   * are still the caller's to dispose.
   */
  readonly consume?: boolean;
}

export interface AdamResult {
  readonly weight: tf.Tensor;
  readonly m: tf.Tensor;
  readonly v: tf.Tensor;
}

/** `adamStep` composed of TensorFlow.js ops. @throws when the shapes disagree or step is below 1 */
export function adamStepReference(tensors: AdamTensors, options: AdamOptions): AdamResult {
  expectTensors('adamStep', { weight: tensors?.weight, gradient: tensors?.gradient, m: tensors?.m, v: tensors?.v });
  const { weight, gradient, m: oldM, v: oldV } = tensors;
  const { beta1, beta2, rate, epsilon, keep } = checkAdam(tensors, options);
  return tf.tidy(() => {
    const m = tf.add(tf.mul(oldM, beta1), tf.mul(gradient, 1 - beta1));
    const v = tf.add(tf.mul(oldV, beta2), tf.mul(tf.square(gradient), 1 - beta2));
    const change = tf.div(tf.mul(m, rate), tf.add(tf.sqrt(v), epsilon));
    return { weight: tf.sub(tf.mul(weight, keep), change), m, v };
  });
}

/**
 * One step of Adam (torch.optim.AdamW; without weight decay, torch.optim.Adam) into new tensors, or in place (`consume`).
 *
 * m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
 * weight = weight (1 - learningRate weightDecay) - learningRate (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + epsilon)
 *
 * @throws when the shapes disagree or step is below 1
 */
export function adamStep(tensors: AdamTensors, options: AdamOptions): AdamResult {
  expectTensors('adamStep', { weight: tensors?.weight, gradient: tensors?.gradient, m: tensors?.m, v: tensors?.v });
  if (!hasKernel('AdamStep')) return adamStepReference(tensors, options);
  const spec = { ...checkAdam(tensors, options), consume: options.consume ?? false };
  const [weight, m, v] = runFused(
    'AdamStep',
    { 0: tensors.weight, 1: tensors.gradient, 2: tensors.m, 3: tensors.v },
    spec,
  );
  return { weight: weight!, m: m!, v: v! };
}

/** The step's numbers; sqrt(v / c) + epsilon = (sqrt(v) + epsilon sqrt(c)) / sqrt(c), so the corrections fold into two of them. */
function checkAdam({ weight, gradient, m, v }: AdamTensors, options: AdamOptions) {
  if (typeof options !== 'object' || options === null)
    throw new Error('adamStep: expected options { step, learningRate }, got none; count steps from 1');
  const { step, learningRate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  if (!Number.isInteger(step) || step < 1)
    throw new Error(`adamStep: expected step to be 1, 2, …, got ${step}; count from 1`);
  for (const [name, tensor] of Object.entries({ weight, gradient, m, v })) {
    expectTensor(`adamStep: expected ${name}`, tensor, weight.shape, '', 'it has the shape of the weight');
  }
  const correction = Math.sqrt(1 - beta2 ** step);
  const rate = (learningRate * correction) / (1 - beta1 ** step);
  return { beta1, beta2, rate, epsilon: epsilon * correction, keep: 1 - learningRate * weightDecay };
}
