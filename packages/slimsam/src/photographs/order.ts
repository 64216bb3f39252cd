import { shuffledBatches } from '@slimsam/distill';

/** Epochs count from 0: these orders are of none. */
const [splitEpoch, sampleEpoch] = [-2, -3];

/** The numbers 0 to count - 1 in the order of one epoch: a pure function of its arguments. @throws when count is not 1, 2, … */
export function shuffled(count: number, { seed, epoch }: { readonly seed: number; readonly epoch: number }): number[] {
  return shuffledBatches(count, { batchSize: count, seed, epoch }).next().value ?? [];
}

/**
 * Holds back `held` of `count` photographs for validation, by chance: the same ones for the same seed. Both lists are sorted. Without any,
 * those that train also validate.
 *
 * @throws when held is not 0, 1, …, less than count
 */
export function holdBack(
  count: number,
  { seed, held }: { readonly seed: number; readonly held: number },
): { seen: number[]; held: number[] } {
  if (!Number.isInteger(held) || held < 0 || held >= count)
    throw new Error(`compress: expected held to be less than the ${count} photographs, got ${held}`);
  const order = shuffled(count, { seed, epoch: splitEpoch });
  const seen = ascending(order.slice(held));
  return { seen, held: held > 0 ? ascending(order.slice(0, held)) : seen };
}

/**
 * A sample without repetition, by chance: the same one for the same seed, sorted.
 *
 * @throws when size is not 1, 2, …, as many as there are
 */
export function sample<T>(all: readonly T[], { size, seed }: { readonly size: number; readonly seed: number }): T[] {
  if (!Number.isInteger(size) || size < 1 || size > all.length) {
    throw new Error(`sample: expected 1 to ${all.length} of ${all.length}, got ${size}`);
  }
  const order = shuffled(all.length, { seed, epoch: sampleEpoch });
  return ascending(order.slice(0, size)).map((index) => all[index]!);
}

const ascending = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);
