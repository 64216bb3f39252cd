import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/**
 * How much each block changes the residual stream: 1 - cos(what enters, what leaves), the mean over tokens and batches, in [0, 2].
 * The least are the first to drop (`plan`'s `dropBlocks`).
 * @param streams one batch's streams [..., C]: what enters block 0, then what leaves each block; run in a tidy
 * @throws when there is no batch, or fewer than two streams
 */
export async function blockImportance<Batch>(
  streams: (batch: Batch) => readonly tf.Tensor[],
  options: { readonly batches: AsyncIterable<Batch> | Iterable<Batch>; readonly signal?: AbortSignal },
): Promise<number[]> {
  checkFields('blockImportance', { streams }, { streams: 'function' });
  checkFields('blockImportance', options, { batches: 'iterable' });
  let sums: number[] = [];
  let count = 0;
  for await (const batch of options.batches) {
    options.signal?.throwIfAborted();
    const changes = tf.tidy(() => {
      const rows = streams(batch).map((stream) => tf.reshape(stream, [-1, stream.shape.at(-1)!]));
      if (rows.length < 2) throw new Error(`blockImportance: expected two streams or more, got ${rows.length}`);
      const units = rows.map((row) => tf.div(row, tf.maximum(tf.norm(row, 2, 1, true), 1e-12)));
      return tf.stack(units.slice(1).map((unit, i) => tf.sub(1, tf.mean(tf.sum(tf.mul(unit, units[i]!), 1)))));
    });
    const values = await changes.data();
    changes.dispose();
    sums = Array.from(values, (value, i) => value + (sums[i] ?? 0));
    count++;
  }
  if (count === 0) throw new Error('blockImportance: expected at least one batch, got none');
  return sums.map((sum) => sum / count);
}
