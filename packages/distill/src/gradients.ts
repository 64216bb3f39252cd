import { disposeWeights, valueAndGradients, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { LossParts } from './loss.ts';

/** One batch's gradients and losses. */
interface BatchGradients {
  readonly gradients: Weights;
  /** [1 + parts], the total first */
  readonly values: tf.Tensor1D;
  readonly names: readonly string[];
}

/** Differentiates a loss by every one of the weights; those that it does not reach get zeros. */
export function gradientsOf(weights: Weights, loss: () => LossParts): BatchGradients {
  let names: string[] = [];
  let values: tf.Tensor1D | undefined;
  try {
    const { value, gradients } = valueAndGradients(weights, () => {
      const { total, parts } = loss();
      names = Object.keys(parts);
      values = tf.keep(tf.stack([total, ...Object.values(parts)]) as tf.Tensor1D);
      return total;
    });
    value.dispose();
    const all = Object.entries(weights).map(([name, weight]) => [name, gradients[name] ?? tf.zerosLike(weight)]);
    return { gradients: Object.fromEntries(all), values: values!, names };
  } catch (error) {
    values?.dispose();
    throw error;
  }
}

/** Gradients and losses of the batches since the last step. */
export class GradientSum {
  count = 0;
  #gradients: Weights | undefined;
  #values: tf.Tensor1D | undefined;
  #names: readonly string[] = [];

  add({ gradients, values, names }: BatchGradients): void {
    this.count++;
    this.#names = names;
    this.#gradients = this.#gradients ? merge(this.#gradients, gradients) : gradients;
    this.#values = this.#values ? (merge({ x: this.#values }, { x: values }).x as tf.Tensor1D) : values;
  }

  /** The mean gradients, which the caller disposes. */
  gradients(): Weights {
    const gradients = this.#gradients!;
    this.#gradients = undefined;
    if (this.count === 1) return gradients;
    const means = tf.tidy(() =>
      Object.fromEntries(Object.entries(gradients).map(([name, g]) => [name, tf.div(g, this.count)])),
    );
    disposeWeights(gradients);
    return means;
  }

  /** Reads the losses' means, and starts anew. @throws when the total is not a number, naming the step and the parts */
  async losses(step: number): Promise<{ loss: number; parts: Record<string, number> }> {
    const means = [...(await this.#values!.data())].map((value) => value / this.count);
    this.dispose();
    const parts = Object.fromEntries(this.#names.map((name, i) => [name, means[i + 1]!]));
    if (!Number.isFinite(means[0])) {
      const list = Object.entries(parts).map(([name, value]) => `${name} ${value}`);
      throw new Error(
        `train: expected a finite loss at step ${step}, got ${means[0]} (${list.join(', ') || 'no parts'}); lower the learning rate or look at the batch`,
      );
    }
    return { loss: means[0]!, parts };
  }

  dispose(): void {
    if (this.#gradients) disposeWeights(this.#gradients);
    this.#values?.dispose();
    this.#gradients = undefined;
    this.#values = undefined;
    this.count = 0;
  }
}

function merge(a: Weights, b: Weights): Weights {
  const sum = tf.tidy(() => Object.fromEntries(Object.entries(a).map(([name, x]) => [name, tf.add(x, b[name]!)])));
  disposeWeights(a);
  disposeWeights(b);
  return sum;
}
