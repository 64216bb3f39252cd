import { checkFields, randomGenerator } from '@slimsam/weights';
import { uniformInt } from 'pure-rand/distribution/uniformInt';

/**
 * The order of one epoch, cut into batches of indices: a pure function of its arguments. The last batch may be smaller.
 *
 * @param options.startBatch batches to leave out, for a run that goes on in the middle of an epoch
 * @throws when count or batchSize is not a natural number
 */
export function* shuffledBatches(
  count: number,
  options: { readonly batchSize: number; readonly seed: number; readonly epoch: number; readonly startBatch?: number },
): Generator<number[], void, undefined> {
  checkFields('shuffledBatches', { count }, { count: 'number' });
  checkFields('shuffledBatches', options, { batchSize: 'number', seed: 'number', epoch: 'number' });
  const { batchSize, seed, epoch, startBatch = 0 } = options;
  for (const [name, value] of Object.entries({ count, batchSize })) {
    if (!Number.isInteger(value) || value < 1)
      throw new Error(`shuffledBatches: expected ${name} to be 1, 2, …, got ${value}`);
  }
  const random = randomGenerator(Math.imul(seed, 0x9e3779b9) ^ Math.imul(epoch + 1, 0x85ebca6b));
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = uniformInt(random, 0, i);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  for (let at = startBatch * batchSize; at < count; at += batchSize) yield order.slice(at, at + batchSize);
}
