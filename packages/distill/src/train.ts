import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Optimizer, OptimizerState } from './adam.ts';
import type { LossParts, Position } from './loss.ts';

/** All that is needed to go on: written by `saveTraining`. */
export interface TrainingState {
  readonly weights: Weights;
  readonly optimizer: OptimizerState;
  readonly position: Position;
}

/** What one optimizer step did. Tensors are borrowed until the next step; `tf.clone` what you keep. */
export interface TrainingStep {
  /** Where training is after this step. */
  readonly position: Position;
  /** Whether this was the last step of its epoch. */
  readonly epochDone: boolean;
  /** Mean over the accumulated batches. */
  readonly loss: number;
  readonly parts: Readonly<Record<string, number>>;
  readonly learningRate: number;
  readonly weights: Weights;
  readonly state: TrainingState;
}

export interface TrainOptions<Batch extends tf.TensorContainer, Prepared extends tf.TensorContainer> {
  /** Not changed; training works on copies. */
  readonly weights: Weights;
  /** The weights that are trained, by name; all unless given. */
  readonly trainable?: (name: string) => boolean;
  /** Pure. `prepared` is what `prepare` made of the batch. */
  readonly loss: (
    inputs: { readonly weights: Weights; readonly batch: Batch; readonly prepared: Prepared },
    position: Position,
  ) => LossParts;
  /** Computed once a batch outside of differentiation, such as teachers' features. */
  readonly prepare?: (batch: Batch, position: Position) => Prepared;
  readonly optimizer: Optimizer;
  /** The batches of an epoch from `startBatch` on; must give the same ones each time. Their tensors are disposed by the loop. */
  readonly batches: (epoch: number, startBatch: number) => AsyncIterable<Batch> | Iterable<Batch>;
  readonly epochs: number;
  /** Batches whose gradients are averaged for one step; 1 unless given. */
  readonly accumulate?: number;
  readonly learningRate: number | ((position: Position) => number);
  /** A state to go on from; it is copied. */
  readonly resume?: TrainingState | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Trains, one optimizer step at a time. Evaluation, checkpoints, logging and early stop are the caller's loop body.
 *
 * @throws when the loss is not a number (naming the step and the parts), or the signal's reason when it is aborted
 */
export async function* train<Batch extends tf.TensorContainer, Prepared extends tf.TensorContainer = undefined>(
  options: TrainOptions<Batch, Prepared>,
): AsyncGenerator<TrainingStep, void, undefined> {
  const { optimizer, epochs, signal, trainable = () => true } = options;
  const accumulate = options.accumulate ?? 1;
  const all = options.resume?.weights ?? options.weights;
  const frozen = Object.fromEntries(Object.entries(all).filter(([name]) => !trainable(name)));
  let weights = cloned(Object.fromEntries(Object.entries(all).filter(([name]) => trainable(name))));
  const from = options.resume?.optimizer;
  let optimizerState = from ? { step: from.step, m: cloned(from.m), v: cloned(from.v) } : optimizer.init(weights);
  let position = options.resume?.position ?? { epoch: 0, batch: 0, step: 0 };
  const sum = new GradientSum();
  try {
    while (position.epoch < epochs) {
      const iterator = iterate(options.batches(position.epoch, position.batch));
      let next = await iterator.next();
      try {
        while (!next.done) {
          signal?.throwIfAborted();
          const batch = next.value;
          try {
            sum.add(gradientsOf(options, { weights, frozen, batch, position }));
          } finally {
            tf.dispose(batch);
          }
          next = await iterator.next();
          position = { ...position, batch: position.batch + 1 };
          if (sum.count < accumulate && !next.done) continue;
          const { loss, parts } = await sum.report(position.step);
          const learningRate =
            typeof options.learningRate === 'number' ? options.learningRate : options.learningRate(position);
          const gradients = sum.take();
          const updated = tf.tidy(
            () =>
              optimizer.update(
                { weights, gradients, state: optimizerState },
                learningRate,
              ) as unknown as tf.TensorContainer,
          ) as unknown as ReturnType<Optimizer['update']>;
          disposeAll(weights, gradients, optimizerState.m, optimizerState.v);
          weights = updated.weights;
          optimizerState = updated.state;
          const epochDone = next.done === true;
          position = {
            epoch: position.epoch + (epochDone ? 1 : 0),
            batch: epochDone ? 0 : position.batch,
            step: position.step + 1,
          };
          const whole = { ...frozen, ...weights };
          yield {
            position,
            epochDone,
            loss,
            parts,
            learningRate,
            weights: whole,
            state: { weights: whole, optimizer: optimizerState, position },
          };
        }
      } finally {
        if (!next.done) tf.dispose(next.value);
        await iterator.return?.();
      }
      if (position.batch > 0)
        throw new Error(
          `train: expected at least one more batch in epoch ${position.epoch} from batch ${position.batch} on, got none`,
        );
    }
  } finally {
    sum.dispose();
    disposeAll(weights, optimizerState.m, optimizerState.v);
  }
}

interface BatchGradients {
  readonly gradients: Weights;
  /** [1 + parts], the total first */
  readonly values: tf.Tensor1D;
  readonly names: readonly string[];
}

function gradientsOf<Batch extends tf.TensorContainer, Prepared extends tf.TensorContainer>(
  options: TrainOptions<Batch, Prepared>,
  { weights, frozen, batch, position }: { weights: Weights; frozen: Weights; batch: Batch; position: Position },
): BatchGradients {
  const names = Object.keys(weights);
  const prepared = tf.tidy(() => options.prepare?.(batch, position) as tf.TensorContainer) as Prepared;
  let partNames: string[] = [];
  let values: tf.Tensor1D | undefined;
  try {
    const { value, grads } = tf.engine().gradients(
      () => {
        const { total, parts } = options.loss({ weights: { ...frozen, ...weights }, batch, prepared }, position);
        partNames = Object.keys(parts);
        values = tf.keep(tf.stack([total, ...Object.values(parts)]) as tf.Tensor1D);
        return total;
      },
      names.map((name) => weights[name]!),
      undefined,
      true, // a weight that the loss does not reach gets a zero gradient
    );
    value.dispose();
    const gradients = Object.fromEntries(names.map((name, i) => [name, grads[i] ?? tf.zerosLike(weights[name]!)]));
    return { gradients, values: values!, names: partNames };
  } catch (error) {
    values?.dispose();
    throw error;
  } finally {
    tf.dispose(prepared);
  }
}

/** Gradients and losses of the batches since the last step. */
class GradientSum {
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

  /** Reads the losses' means. @throws when the total is not a number */
  async report(step: number): Promise<{ loss: number; parts: Record<string, number> }> {
    const values = this.#values!;
    this.#values = undefined;
    const means = [...(await values.data())].map((value) => value / this.count);
    values.dispose();
    const parts = Object.fromEntries(this.#names.map((name, i) => [name, means[i + 1]!]));
    if (!Number.isFinite(means[0])) {
      const list = Object.entries(parts).map(([name, value]) => `${name} ${value}`);
      throw new Error(
        `train: expected a finite loss at step ${step}, got ${means[0]} (${list.join(', ')}); lower the learning rate`,
      );
    }
    return { loss: means[0]!, parts };
  }

  /** The mean gradients; the sum starts anew. */
  take(): Weights {
    const gradients = this.#gradients!;
    const count = this.count;
    this.#gradients = undefined;
    this.count = 0;
    if (count === 1) return gradients;
    const means = tf.tidy(() =>
      Object.fromEntries(Object.entries(gradients).map(([name, g]) => [name, tf.div(g, count)])),
    );
    disposeWeights(gradients);
    return means;
  }

  dispose(): void {
    if (this.#gradients) disposeWeights(this.#gradients);
    this.#values?.dispose();
  }
}

function merge(a: Weights, b: Weights): Weights {
  const sum = tf.tidy(() => Object.fromEntries(Object.entries(a).map(([name, x]) => [name, tf.add(x, b[name]!)])));
  disposeAll(a, b);
  return sum;
}

function disposeAll(...tables: Weights[]): void {
  for (const table of tables) disposeWeights(table);
}

function cloned(weights: Weights): Weights {
  return Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, tf.clone(weight)]));
}

function iterate<T>(source: AsyncIterable<T> | Iterable<T>): AsyncIterator<T> | Iterator<T> {
  return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
}
