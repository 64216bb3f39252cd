import { valueAndGradients, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

export interface AccumulateOptions<Batch> {
  /** A scalar loss of one batch. Disturbed Taylor: `disturbedLoss(output, noise)`. */
  loss: (weights: Weights, batch: Batch) => tf.Scalar;
  weights: Weights;
  /** Tensors in a batch stay the caller's: an async generator can dispose them after its `yield`. */
  batches: AsyncIterable<Batch> | Iterable<Batch>;
  /**
   * 'signed' (default, as the paper's code): sum of the gradients, in which images partly cancel.
   * 'absolute': sum of their absolute values. As |w| sum|g| = sum|w g|, the Taylor criteria then score by per-batch |w g|.
   */
  mode?: 'signed' | 'absolute';
  signal?: AbortSignal;
}

export interface Accumulated {
  /** Sums over the batches, one tensor for each weight that the loss reaches. The caller disposes them. */
  gradients: Weights;
  /** Sum of the losses over the batches. */
  loss: number;
  /** Number of batches. */
  count: number;
}

/**
 * Sums the gradients of a loss over batches: dL/dw or |dL/dw|, of the weights' shapes. Holds one set of sums, whatever the
 * number of batches, and reads the loss once a batch, asynchronously.
 * @throws when there is no batch, the loss is not a finite scalar, or the signal aborts (its reason); sums are then freed.
 */
export async function accumulateGradients<Batch>(options: AccumulateOptions<Batch>): Promise<Accumulated> {
  const { loss, weights, batches, mode = 'signed', signal } = options;
  let sums: Record<string, tf.Tensor> = {};
  let total = 0;
  let count = 0;
  try {
    for await (const batch of batches) {
      signal?.throwIfAborted();
      const step = tf.tidy(() => gradientStep(loss, weights, batch, mode, sums));
      tf.dispose(sums);
      sums = step.sums;
      const [value] = await step.value.data().finally(() => step.value.dispose());
      if (value === undefined || !Number.isFinite(value)) {
        throw new Error(`accumulateGradients: expected a finite loss, got ${value} in batch ${count}`);
      }
      total += value;
      count++;
    }
    signal?.throwIfAborted();
    if (count === 0) throw new Error('accumulateGradients: expected at least one batch, got none');
  } catch (error) {
    tf.dispose(sums);
    throw error;
  }
  return { gradients: sums, loss: total, count };
}

function gradientStep<Batch>(
  loss: AccumulateOptions<Batch>['loss'],
  weights: Weights,
  batch: Batch,
  mode: 'signed' | 'absolute',
  previous: Weights,
): { value: tf.Scalar; sums: Record<string, tf.Tensor> } {
  const { value, gradients } = valueAndGradients(weights, () => loss(weights, batch));
  const sums: Record<string, tf.Tensor> = {};
  for (const name of Object.keys(weights)) {
    const gradient = gradients[name];
    const before = previous[name];
    if (gradient === undefined) {
      if (before !== undefined) sums[name] = tf.clone(before);
      continue;
    }
    const term = mode === 'absolute' ? tf.abs(gradient) : gradient;
    sums[name] = before === undefined ? term : tf.add(before, term);
  }
  return { value, sums };
}
