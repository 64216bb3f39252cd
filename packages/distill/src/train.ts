import { checkFields, disposeWeights, type Weights } from '@slimsam/weights';
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

/**
 * What one optimizer step did. Its tensors are borrowed until the next step is asked for (`tf.clone` what you keep longer), but for the
 * last: the weights of the last step, after the loop has ended or you have left it, are yours to dispose. The moments never are.
 */
export interface TrainingStep {
  /** Where training is after this step. */
  readonly position: Position;
  /** Whether this was the last step of its epoch. */
  readonly epochDone: boolean;
  /** Mean over the accumulated batches' samples. */
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
  /** Computed once a batch outside of differentiation, such as teachers' features. It tidies; what it gives is disposed by the loop. */
  readonly prepare?: (batch: Batch, position: Position) => Prepared | Promise<Prepared>;
  readonly optimizer: Optimizer;
  /**
   * The batches of an epoch from `startBatch` on; must give the same ones each time. A batch is the loop's as soon as it is
   * given: the loop disposes its tensors, also when it is left.
   */
  readonly batches: (epoch: number, startBatch: number) => AsyncIterable<Batch> | Iterable<Batch>;
  readonly epochs: number;
  /** Batches whose gradients are averaged for one step, each by its size: the step of one large batch. 1 unless given. */
  readonly accumulate?: number;
  /** Samples in a batch; all batches count alike unless given. */
  readonly sizeOf?: (batch: Batch) => number;
  readonly learningRate: LearningRate;
  /** A state to go on from; it is copied. */
  readonly resume?: TrainingState | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Trains, one optimizer step at a time. Evaluation, checkpoints, logging and early stop are the caller's loop body.
 *
 * @throws when an option or the learning rate of a step is out of range, the loss is not a number (naming the step and the parts),
 *   `resume` is of another model, an epoch has no batches, or the signal's reason when it is aborted. Everything is disposed by then.
 */
export async function* train<Batch extends tf.TensorContainer, Prepared extends tf.TensorContainer = undefined>(
  options: TrainOptions<Batch, Prepared>,
): AsyncGenerator<TrainingStep, void, undefined> {
  check(options);
  const { optimizer, epochs, signal, accumulate = 1, trainable = () => true, sizeOf = () => 1 } = options;
  const all = options.resume?.weights ?? options.weights;
  const frozen = cloned(all, (name) => !trainable(name));
  let weights = cloned(all, trainable);
  const from = options.resume?.optimizer;
  let optimizerState = from ? { step: from.step, m: cloned(from.m), v: cloned(from.v) } : optimizer.init(weights);
  let position = options.resume?.position ?? { epoch: 0, batch: 0, step: 0 };
  const sum = new GradientSum();
  let given = false; // whether the weights are the last that the caller has got
  try {
    while (position.epoch < epochs) {
      given = false;
      const start = position;
      const iterator = iterate(options.batches(start.epoch, start.batch));
      let next = await iterator.next();
      try {
        while (!next.done) {
          given = false;
          signal?.throwIfAborted();
          const batch = next.value;
          try {
            const size = accumulate === 1 ? 1 : sizeOf(batch);
            sum.add(await differentiate(options, { weights, frozen, batch, position, size }), size);
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
          given = true;
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
    disposeAll(optimizerState.m, optimizerState.v);
    if (!given) disposeAll(frozen, weights);
  }
}

/** Gradients of the loss times `size`. The batch's own tensors are the caller's to dispose; what `prepare` made is disposed here. */
async function differentiate<Batch extends tf.TensorContainer, Prepared extends tf.TensorContainer>(
  options: TrainOptions<Batch, Prepared>,
  inputs: { weights: Weights; frozen: Weights; batch: Batch; position: Position; size: number },
): Promise<ReturnType<typeof gradientsOf>> {
  const { weights, frozen, batch, position, size } = inputs;
  const prepared = (await options.prepare?.(batch, position)) as Prepared;
  try {
    const whole = { ...frozen, ...weights };
    return gradientsOf(weights, () => options.loss({ weights: whole, batch, prepared }, position), size);
  } finally {
    tf.dispose(prepared);
  }
}

/** One optimizer step: new tensors. What it is given is disposed, by the optimizer or here. */
function update(
  optimizer: Optimizer,
  inputs: Parameters<Optimizer['update']>[0],
  learningRate: number,
): ReturnType<Optimizer['update']> {
  let updated: ReturnType<Optimizer['update']> | undefined;
  try {
    tf.tidy(() => {
      updated = optimizer.update(inputs, learningRate);
      const { weights, state } = updated;
      return [weights, state.m, state.v].flatMap((table) => Object.values(table));
    });
    return updated!;
  } finally {
    disposeAll(inputs.gradients);
  }
}

/** @throws when it is negative or not finite */
function learningRateAt({ learningRate }: { learningRate: LearningRate }, position: Position): number {
  const rate =
    typeof learningRate === 'function'
      ? learningRate(position)
      : typeof learningRate === 'object'
        ? learningRate.learningRate
        : learningRate;
  if (!(rate >= 0 && rate < Number.POSITIVE_INFINITY))
    throw new Error(
      `train: expected a learning rate of 0 or more at step ${position.step}, got ${rate}; 1e-4 is usual`,
    );
  return rate;
}

/** @throws when counts are not natural numbers, a rate is out of range, nothing is trained, or `resume` is of another model */
function check<Batch extends tf.TensorContainer, Prepared extends tf.TensorContainer>(
  options: TrainOptions<Batch, Prepared>,
): void {
  checkFields('train', options, { weights: 'object', batches: 'function', loss: 'function', optimizer: 'object' });
  const { weights, resume, epochs, accumulate = 1, trainable = () => true, learningRate } = options;
  for (const [name, value] of Object.entries({ epochs, accumulate })) {
    if (!Number.isInteger(value) || value < 1) throw new Error(`train: expected ${name} to be 1, 2, …, got ${value}`);
  }
  const trained = Object.keys(weights).filter(trainable);
  if (trained.length === 0) throw new Error('train: expected a weight that is trainable, got none');
  if (typeof learningRate !== 'function') learningRateAt({ learningRate }, { epoch: 0, batch: 0, step: 0 });
  if (resume) checkResume(resume, { weights, trained });
}

/** @throws when it is no state, or not of this model */
function checkResume(
  resume: TrainingState,
  { weights, trained }: { weights: Weights; trained: readonly string[] },
): void {
  const counts = { ...resume.position, 'optimizer.step': resume.optimizer?.step };
  for (const name of ['epoch', 'batch', 'step', 'optimizer.step'] as const) {
    const count = counts[name];
    if (!Number.isInteger(count) || count < 0)
      throw new Error(
        `train: expected resume to have ${name === 'optimizer.step' ? name : `position.${name}`} 0, 1, …, got ${count}; resume with a state that a step or loadTraining gave`,
      );
  }
  const tables = [
    ['weight', resume.weights ?? {}, Object.keys(weights)],
    ['first moment', resume.optimizer.m ?? {}, trained],
    ['second moment', resume.optimizer.v ?? {}, trained],
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
