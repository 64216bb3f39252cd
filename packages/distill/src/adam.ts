import { checkFields, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** First and second moments by weight name, and how many steps made them. */
export interface OptimizerState {
  readonly step: number;
  readonly m: Weights;
  readonly v: Weights;
}

/** An optimizer without a state of its own: both functions return new tensors. */
export interface Optimizer {
  init(weights: Weights): OptimizerState;
  /**
   * One step. What it is given is its own: it may free each tensor as soon as it has made the next, so that weights and moments are not
   * held twice; the loop frees what is left.
   */
  update(
    inputs: { readonly weights: Weights; readonly gradients: Weights; readonly state: OptimizerState },
    learningRate: number,
  ): { weights: Weights; state: OptimizerState };
}

export interface AdamOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Decoupled decay (AdamW), for weights with two or more axes. */
  readonly weightDecay?: number;
  /** What the learning rate is multiplied by, by weight name; 1 unless given. `relativeRates` makes them. */
  readonly rates?: ReadonlyMap<string, number>;
}

/**
 * Rates for steps that change each weight by a share of its size, the root of its mean square when they are made, `least` at the least
 * (Shazeer & Stern 2018, Adafactor, section 8): where layers are of very different sizes, such as those with folded layer scales.
 *
 * @throws when `least` is not at least 0
 */
export async function relativeRates(
  weights: Weights,
  options: { readonly least?: number } = {},
): Promise<Map<string, number>> {
  checkFields('relativeRates', { weights, options }, { weights: 'object', options: 'object' });
  const { least = 1e-3 } = options;
  if (!(least >= 0 && least < Number.POSITIVE_INFINITY))
    throw new Error(`relativeRates: expected least to be at least 0, got ${least}`);
  const sizes = tf.tidy(() =>
    Object.entries(weights).map(([name, weight]) => [name, tf.sqrt(tf.mean(tf.square(weight)))] as const),
  );
  const read = async ([name, size]: readonly [string, tf.Tensor]) => {
    const [value] = await size.data();
    size.dispose();
    return [name, Math.max(value!, least)] as const;
  };
  return new Map(await Promise.all(sizes.map(read)));
}

/**
 * Adam, as torch.optim.Adam and AdamW compute it. It frees weights, moments and gradients as it goes; the steps of a large tensor, or of
 * all small ones, are one kernel where the backend has it (`AdamStep` of `@slimsam/tensor-webgpu`, in place where no other tensor shares
 * the values), else composed of TensorFlow.js ops.
 */
export function adam(options: AdamOptions = {}): Optimizer {
  checkFields('adam', { options }, { options: 'object' });
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, rates } = options;
  for (const [name, beta] of Object.entries({ beta1, beta2 }))
    if (!(beta >= 0 && beta < 1)) throw new Error(`adam: expected ${name} in [0, 1), got ${beta}`);
  for (const [name, value] of Object.entries({ epsilon, weightDecay }))
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY))
      throw new Error(`adam: expected ${name} of at least 0, got ${value}`);
  for (const [name, rate] of rates ?? [])
    if (!(rate >= 0 && rate < Number.POSITIVE_INFINITY))
      throw new Error(`adam: expected the rate of '${name}' to be at least 0, got ${rate}`);
  return {
    init: (weights) => {
      const zeros = () =>
        Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, tf.zerosLike(weight)]));
      return { step: 0, m: zeros(), v: zeros() };
    },
    update: ({ weights, gradients, state }, learningRate) => {
      const step = state.step + 1;
      // sqrt(v / c) + epsilon = (sqrt(v) + epsilon sqrt(c)) / sqrt(c): the corrections of the bias fold into two numbers
      const correction = Math.sqrt(1 - beta2 ** step);
      const common = { beta1, beta2, epsilon: epsilon * correction };
      const take = tf.getKernel(kernelName, tf.getBackend()) ? fusedSteps : composedSteps;
      const next = new Map<string, Stepped>();
      const takeAll = (names: readonly string[], { decay, share }: Group): void => {
        const own = learningRate * share;
        const rate = (own * correction) / (1 - beta1 ** step);
        const rows = names.map((name) => ({
          weight: weights[name]!,
          gradient: gradients[name]!,
          m: state.m[name]!,
          v: state.v[name]!,
        }));
        const made = take(rows, { ...common, rate, keep: 1 - own * decay });
        for (const [k, name] of names.entries()) next.set(name, made[k]!);
        for (const row of rows) tf.dispose(Object.values(row));
      };
      const small = new Map<string, Group & { names: string[] }>(); // small tensors with the same numbers go together
      for (const [name, weight] of Object.entries(weights)) {
        const group = { decay: weight.rank >= 2 ? weightDecay : 0, share: rates?.get(name) ?? 1 };
        const key = `${group.decay} ${group.share}`;
        if (weight.size > fewElements) takeAll([name], group);
        else small.set(key, { ...group, names: [...(small.get(key)?.names ?? []), name] });
      }
      for (const { names, ...group } of small.values()) takeAll(names, group);
      const table = (key: keyof Stepped) =>
        Object.fromEntries(Object.keys(weights).map((name) => [name, next.get(name)![key]]));
      return { weights: table('weight'), state: { step, m: table('m'), v: table('v') } };
    },
  };
}

const kernelName = 'AdamStep';
const fewElements = 1 << 16; // where a dispatch costs more than its work

type Group = { readonly decay: number /** Of the learning rate. */; readonly share: number };
type Stepped = Readonly<Record<'weight' | 'm' | 'v', tf.Tensor>>;
type Row = Stepped & { readonly gradient: tf.Tensor };
type Steps = (
  rows: readonly Row[],
  numbers: Readonly<Record<'beta1' | 'beta2' | 'rate' | 'epsilon' | 'keep', number>>,
) => Stepped[];

const fusedSteps: Steps = (rows, numbers) => {
  const inputs = (['weight', 'gradient', 'm', 'v'] as const).flatMap((kind) => rows.map((row) => row[kind]));
  const made = tf
    .engine()
    .runKernel<tf.Tensor[]>(kernelName, Object.fromEntries(inputs.entries()), { ...numbers, consume: true });
  const { length } = rows;
  return rows.map((_, k) => ({ weight: made[k]!, m: made[length + k]!, v: made[2 * length + k]! }));
};

const composedSteps: Steps = (rows, { beta1, beta2, rate, epsilon, keep }) =>
  rows.map(({ weight, gradient, m, v }) =>
    tf.tidy(() => {
      const first = tf.add(tf.mul(m, beta1), tf.mul(gradient, 1 - beta1));
      const second = tf.add(tf.mul(v, beta2), tf.mul(tf.square(gradient), 1 - beta2));
      const change = tf.div(tf.mul(first, rate), tf.add(tf.sqrt(second), epsilon));
      return { weight: tf.sub(tf.mul(weight, keep), change), m: first, v: second };
    }),
  );
