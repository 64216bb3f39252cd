import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** First and second moments by weight name, and how many steps made them. */
export interface OptimizerState {
  readonly step: number;
  readonly m: Weights;
  readonly v: Weights;
}

/** A stateless optimizer: both functions return new tensors and dispose nothing. */
export interface Optimizer {
  init(weights: Weights): OptimizerState;
  update(
    inputs: { readonly weights: Weights; readonly gradients: Weights; readonly state: OptimizerState },
    learningRate: number,
  ): { weights: Weights; state: OptimizerState };
}

/** One tensor's step, such as `adamStep` of `@slimsam/tensor-webgpu/ops`. */
export type AdamStep = (
  tensors: { weight: tf.Tensor; gradient: tf.Tensor; m: tf.Tensor; v: tf.Tensor },
  options: {
    step: number;
    learningRate: number;
    beta1?: number;
    beta2?: number;
    epsilon?: number;
    weightDecay?: number;
  },
) => { weight: tf.Tensor; m: tf.Tensor; v: tf.Tensor };

export interface AdamOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Decoupled decay (AdamW), for weights with two or more axes. */
  readonly weightDecay?: number;
  /** Another implementation of one tensor's step. */
  readonly step?: AdamStep;
}

/** Adam, as torch.optim.Adam and AdamW compute it. */
export function adam(options: AdamOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, step: take = composedStep } = options;
  return {
    init: (weights) => {
      const zeros = () =>
        Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, tf.zerosLike(weight)]));
      return { step: 0, m: zeros(), v: zeros() };
    },
    update: ({ weights, gradients, state }, learningRate) => {
      const step = state.step + 1;
      const [updated, m, v]: Record<string, tf.Tensor>[] = [{}, {}, {}];
      for (const [name, weight] of Object.entries(weights)) {
        const tensors = { weight, gradient: gradients[name]!, m: state.m[name]!, v: state.v[name]! };
        const decay = weight.rank >= 2 ? weightDecay : 0;
        const next = take(tensors, { step, learningRate, beta1, beta2, epsilon, weightDecay: decay });
        updated![name] = next.weight;
        m![name] = next.m;
        v![name] = next.v;
      }
      return { weights: updated!, state: { step, m: m!, v: v! } };
    },
  };
}

const composedStep: AdamStep = (
  { weight, gradient, m, v },
  { step, learningRate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 },
) =>
  tf.tidy(() => {
    const first = tf.add(tf.mul(m, beta1), tf.mul(gradient, 1 - beta1));
    const second = tf.add(tf.mul(v, beta2), tf.mul(tf.square(gradient), 1 - beta2));
    const size = tf.add(tf.mul(tf.sqrt(second), 1 / Math.sqrt(1 - beta2 ** step)), epsilon);
    const decayed = tf.mul(weight, 1 - learningRate * weightDecay);
    return {
      weight: tf.sub(decayed, tf.mul(tf.div(first, size), learningRate / (1 - beta1 ** step))),
      m: first,
      v: second,
    };
  });
