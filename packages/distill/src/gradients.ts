import { disposeWeights, valueAndGradients, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { LossParts } from './loss.ts';

/** One batch's gradients and losses, times its size. */
interface BatchGradients {
  readonly gradients: Weights;
  /** [1 + parts], the total first */
  readonly values: tf.Tensor1D;
  readonly names: readonly string[];
}

/**
 * Differentiates a loss, times `size`, by every one of the weights; those that it does not reach get zeros.
 *
 * @throws when the loss gives no total
 */
export function gradientsOf(weights: Weights, loss: () => LossParts, size: number): BatchGradients {
  let names: string[] = [];
  let values: tf.Tensor1D | undefined;
  try {
    const { value, gradients } = valueAndGradients(weights, () => {
      const { total, parts = {} } = loss() ?? {};
      if (!(total instanceof tf.Tensor))
        throw new Error(
          `train: expected the loss to give { total, parts } of scalars, got ${total === undefined ? 'no total' : `a total of ${total}`}`,
        );
      names = Object.keys(parts);
      const scaled = (x: tf.Tensor) => (size === 1 ? x : tf.mul(x, size));
      values = tf.keep(scaled(tf.stack([total, ...Object.values(parts)])) as tf.Tensor1D);
      return scaled(total) as tf.Scalar;
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
  /** Batches. */
  count = 0;
  #size = 0;
  #gradients: Weights | undefined;
  #values: tf.Tensor1D | undefined;
  #names: readonly string[] = [];

  add({ gradients, values, names }: BatchGradients, size: number): void {
    this.count++;
    this.#size += size;
    this.#names = names;
    this.#gradients = this.#gradients ? merge(this.#gradients, gradients) : gradients;
    this.#values = this.#values ? (merge({ x: this.#values }, { x: values }).x as tf.Tensor1D) : values;
  }

  /** The mean gradients, which the caller disposes. */
  gradients(): Weights {
    const gradients = this.#gradients!;
    this.#gradients = undefined;
    if (this.#size === 1) return gradients;
    return replaced(gradients, (sum) => tf.div(sum, this.#size));
  }

  /** Reads the losses' means, and starts anew. @throws when the total is not a number, naming the step and the parts */
  async losses(step: number): Promise<{ loss: number; parts: Record<string, number> }> {
    const means = [...(await this.#values!.data())].map((value) => value / this.#size);
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
    this.#size = 0;
  }
}

/** a + b, one tensor after another, so that no more than one is held beside them. */
function merge(a: Weights, b: Weights): Weights {
  return replaced(a, (x, name) => {
    const sum = tf.add(x, b[name]!);
    b[name]!.dispose();
    return sum;
  });
}

/** New tensors for old ones, which are freed one after another. */
function replaced(table: Weights, next: (x: tf.Tensor, name: string) => tf.Tensor): Weights {
  const entries = Object.entries(table).map(([name, x]) => {
    const made = next(x, name);
    x.dispose();
    return [name, made] as const;
  });
  return Object.fromEntries(entries);
}
