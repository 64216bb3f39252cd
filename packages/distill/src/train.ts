import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Optimizer, OptimizerState } from './adam.ts';
import { GradientSum, gradientsOf } from './gradients.ts';
import type { Plateau } from './learning-rate.ts';
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

/** A constant, a function of the position, or a plateau that the caller feeds. */
export type LearningRate = number | ((position: Position) => number) | Plateau;

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
  readonly learningRate: LearningRate;
  /** A state to go on from; it is copied. */
  readonly resume?: TrainingState | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Trains, one optimizer step at a time. Evaluation, checkpoints, logging and early stop are the caller's loop body.
 *
 * @throws when the loss is not a number (naming the step and the parts), `resume` is of another model, an epoch has no batches, or
 *   the signal's reason when it is aborted. Everything is disposed by then, as when the caller leaves the loop.
 */
export async function* train<Batch extends tf.TensorContainer, Prepared extends tf.TensorContainer = undefined>(
  options: TrainOptions<Batch, Prepared>,
): AsyncGenerator<TrainingStep, void, undefined> {
  check(options);
  const { optimizer, epochs, signal, accumulate = 1, trainable = () => true } = options;
  const all = options.resume?.weights ?? options.weights;
  const frozen = cloned(all, (name) => !trainable(name));
  let weights = cloned(all, trainable);
  const from = options.resume?.optimizer;
  let optimizerState = from ? { step: from.step, m: cloned(from.m), v: cloned(from.v) } : optimizer.init(weights);
  let position = options.resume?.position ?? { epoch: 0, batch: 0, step: 0 };
  const sum = new GradientSum();
  try {
    while (position.epoch < epochs) {
      const start = position;
      const iterator = iterate(options.batches(start.epoch, start.batch));
      let next = await iterator.next();
      try {
        while (!next.done) {
          signal?.throwIfAborted();
          const batch = next.value;
          try {
            sum.add(differentiate(options, { weights, frozen, batch, position }));
          } finally {
            tf.dispose(batch);
          }
          next = await iterator.next();
          position = { ...position, batch: position.batch + 1 };
          if (sum.count < accumulate && !next.done) continue;
          const learningRate = learningRateAt(options, position);
          const updated = update(
            optimizer,
            { weights, gradients: sum.gradients(), state: optimizerState },
            learningRate,
          );
          disposeAll(weights, optimizerState.m, optimizerState.v);
          weights = updated.weights;
          optimizerState = updated.state;
          const { loss, parts } = await sum.losses(position.step); // the only read, when all of the step's work is queued
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
      if (position === start)
        throw new Error(
          `train: expected at least one batch in epoch ${start.epoch} from batch ${start.batch} on, got none`,
        );
    }
  } finally {
    sum.dispose();
    disposeAll(frozen, weights, optimizerState.m, optimizerState.v);
  }
}

/** The batches' own tensors are the caller's to dispose; what `prepare` made is disposed here. */
function differentiate<Batch extends tf.TensorContainer, Prepared extends tf.TensorContainer>(
  options: TrainOptions<Batch, Prepared>,
  { weights, frozen, batch, position }: { weights: Weights; frozen: Weights; batch: Batch; position: Position },
): ReturnType<typeof gradientsOf> {
  const prepared = tf.tidy(() => options.prepare?.(batch, position) as tf.TensorContainer) as Prepared;
  try {
    return gradientsOf(weights, () => options.loss({ weights: { ...frozen, ...weights }, batch, prepared }, position));
  } finally {
    tf.dispose(prepared);
  }
}

/** One optimizer step: new tensors. The gradients are disposed. */
function update(
  optimizer: Optimizer,
  inputs: Parameters<Optimizer['update']>[0],
  learningRate: number,
): ReturnType<Optimizer['update']> {
  try {
    // tidy's types know no readonly tables
    return tf.tidy(
      () => optimizer.update(inputs, learningRate) as unknown as tf.TensorContainer,
    ) as unknown as ReturnType<Optimizer['update']>;
  } finally {
    disposeWeights(inputs.gradients);
  }
}

function learningRateAt({ learningRate }: { learningRate: LearningRate }, position: Position): number {
  if (typeof learningRate === 'number') return learningRate;
  return typeof learningRate === 'function' ? learningRate(position) : learningRate.learningRate;
}

/** @throws when counts are not natural numbers, nothing is trained, or `resume` is of another model */
function check<Batch extends tf.TensorContainer, Prepared extends tf.TensorContainer>({
  weights,
  resume,
  epochs,
  accumulate = 1,
  trainable = () => true,
}: TrainOptions<Batch, Prepared>): void {
  for (const [name, value] of Object.entries({ epochs, accumulate })) {
    if (!Number.isInteger(value) || value < 1) throw new Error(`train: expected ${name} to be 1, 2, …, got ${value}`);
  }
  const trained = Object.keys(weights).filter(trainable);
  if (trained.length === 0) throw new Error('train: expected a weight that is trainable, got none');
  if (!resume) return;
  const tables = [
    ['weight', resume.weights, Object.keys(weights)],
    ['first moment', resume.optimizer.m, trained],
    ['second moment', resume.optimizer.v, trained],
  ] as const;
  for (const [kind, table, names] of tables) {
    for (const name of names) {
      const [expected, got] = [weights[name]!.shape, table[name]?.shape];
      if (got?.join() !== expected.join())
        throw new Error(
          `train: expected resume to have the ${kind} '${name}' [${expected}], got ${got ? `[${got}]` : 'none'}; resume with the model and the trainable weights of before`,
        );
    }
  }
}

function disposeAll(...tables: Weights[]): void {
  for (const table of tables) disposeWeights(table);
}

function cloned(weights: Weights, wanted: (name: string) => boolean = () => true): Weights {
  const entries = Object.entries(weights).filter(([name]) => wanted(name));
  return Object.fromEntries(entries.map(([name, weight]) => [name, tf.clone(weight)]));
}

function iterate<T>(source: AsyncIterable<T> | Iterable<T>): AsyncIterator<T> | Iterator<T> {
  return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
}
