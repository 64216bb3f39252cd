import { shuffledBatches } from '@slimsam/distill';

/** Epochs count from 0: these orders are of none. */
const [splitEpoch, sampleEpoch] = [-2, -3];

/** The numbers 0 to count - 1 in the order of one epoch: a pure function of its arguments. @throws when count is not 1, 2, … */
export function shuffled(count: number, { seed, epoch }: { readonly seed: number; readonly epoch: number }): number[] {
  return shuffledBatches(count, { batchSize: count, seed, epoch }).next().value ?? [];
}

/**
 * Holds back some of `count` photographs for validation, by chance: the same ones for the same seed. Both lists are sorted.
 *
 * @param options.share of all that is held back, rounded, 1 at least and never all; an eighth unless given
 * @throws when count is not 2, 3, … or share is not in (0, 1)
 */
export function holdBack(
  count: number,
  { seed, share = 1 / 8 }: { readonly seed: number; readonly share?: number },
): { seen: number[]; held: number[] } {
  if (!Number.isInteger(count) || count < 2) {
    throw new Error(`holdBack: expected 2 photographs at least, one to learn from and one to hold back, got ${count}`);
  }
  if (!(share > 0 && share < 1)) throw new Error(`holdBack: expected a share in (0, 1), got ${share}`);
  const order = shuffled(count, { seed, epoch: splitEpoch });
  const held = Math.min(count - 1, Math.max(1, Math.round(count * share)));
  return { seen: ascending(order.slice(held)), held: ascending(order.slice(0, held)) };
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
