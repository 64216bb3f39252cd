import { checkFields, valueAndGradients, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/**
 * How gradients g of single photographs are added up.
 * - 'squared': sum of g². w² sum g² = sum (w g)², for a disturbed loss an estimate of the Gauss-Newton diagonal.
 * - 'absolute': sum of |g|. |w| sum |g| = sum |w g|, the paper's formula read for each photograph.
 * - 'signed': sum of g, as the paper's code does. With noise of mean 0 its expectation is 0: more photographs make it no better.
 */
export type AccumulationMode = 'squared' | 'absolute' | 'signed';

export interface AccumulateOptions<Batch> {
  /** A scalar loss of one batch; `index` counts the batches from 0. Disturbed Taylor: `disturbedLoss(output, noise)`, the noise seeded by the index. */
  readonly loss: (weights: Weights, batch: Batch, position: { readonly index: number }) => tf.Scalar;
  readonly weights: Weights;
  /** One photograph each: gradients within a batch add up with their signs. Tensors stay the caller's: a generator can dispose them after its `yield`. */
  readonly batches: AsyncIterable<Batch> | Iterable<Batch>;
  /** Default 'squared'. */
  readonly mode?: AccumulationMode;
  /** Goes on from sums of the same mode; they are used up, even when this throws. */
  readonly from?: Gradients;
  readonly signal?: AbortSignal;
}

/** Gradients added up over photographs. */
export interface Gradients {
  readonly mode: AccumulationMode;
  /** Sums over the batches, one tensor for each weight that the loss reaches. The caller disposes them. */
  readonly sums: Weights;
  /** Sum of the losses over the batches. */
  readonly loss: number;
  /** Number of batches. */
  readonly count: number;
}

/**
 * Adds up the gradients of a loss over batches: g², |g| or g, of the weights' shapes. Holds one set of sums, whatever the
 * number of batches, and reads the loss once a batch, asynchronously.
 * @throws when there is no batch, the loss is not a finite scalar, or the signal aborts (its reason); sums are then freed.
 */
export async function accumulateGradients<Batch>(options: AccumulateOptions<Batch>): Promise<Gradients> {
  checkFields('accumulateGradients', options, { loss: 'function', weights: 'object', batches: 'iterable' });
  const { loss, weights, batches, mode = options.from?.mode ?? 'squared', from, signal } = options;
  let sums: Weights = from?.sums ?? {};
  let total = from?.loss ?? 0;
  let count = from?.count ?? 0;
  try {
    if (from !== undefined && from.mode !== mode)
      throw new Error(`accumulateGradients: expected sums of mode '${mode}' to go on from, got '${from.mode}'`);
    if (!['squared', 'absolute', 'signed'].includes(mode))
      throw new Error(`accumulateGradients: expected mode squared, absolute or signed, got '${mode}'`);
    for await (const batch of batches) {
      signal?.throwIfAborted();
      const step = tf.tidy(() => gradientStep(() => loss(weights, batch, { index: count }), { weights, mode, sums }));
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
  return { mode, sums, loss: total, count };
}

function gradientStep(
  loss: () => tf.Scalar,
  { weights, mode, sums: previous }: { weights: Weights; mode: AccumulationMode; sums: Weights },
): { value: tf.Scalar; sums: Weights } {
  const { value, gradients } = valueAndGradients(weights, loss);
  const sums: Record<string, tf.Tensor> = {};
  for (const name of Object.keys(weights)) {
    const gradient = gradients[name];
    const before = previous[name];
    if (gradient === undefined) {
      if (before !== undefined) sums[name] = tf.clone(before);
      continue;
    }
    sums[name] = tf.tidy(() => {
      const term =
        mode === 'squared' ? tf.square(gradient) : mode === 'absolute' ? tf.abs(gradient) : tf.clone(gradient);
      return before === undefined ? term : tf.add(before, term);
    });
  }
  return { value, sums };
}
