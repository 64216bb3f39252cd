import { checkFields } from '@slimsam/weights';
import { type PerDimension, valueFor } from './axis.ts';
import { channelsAt, climb, type Ladder, makeLadders } from './ladder.ts';
import type { Normalise } from './normalise.ts';
import { keptCount, type Reference, selectAsReference } from './select-reference.ts';

/** How channels are ranked, and what their number must be. */
export interface RankingOptions {
  /**
   * 'local': the ratio in every dimension by itself. 'global': one ranking over all dimensions of a class, that is of those whose names
   * differ in numbers only ('blocks.*.mlp').
   */
  readonly ranking: 'local' | 'global';
  /** Stage 1 of the paper uses 'mean', stage 2 'standard'. */
  readonly normalise: Normalise;
  /** Kept widths become multiples of this, or stay whole. Default 1. With 12, a ratio of 0.77 keeps 168 of 768 and 696 of 3072. */
  readonly roundTo?: PerDimension<number>;
  /** Kept widths are at least this. Default one multiple. */
  readonly minimum?: PerDimension<number>;
  /**
   * Dimensions of a class that keep one width: true ties all of them, a name ties those with the same one (a stage:
   * `{ 'blocks.0.mlp': 'a', 'blocks.1.mlp': 'a', … }`). By default each has its own.
   */
  readonly sameWidth?: boolean | PerDimension<string>;
}

export interface SelectOptions extends RankingOptions {
  /** Scores [channels] by dimension, from `importance`. */
  readonly importance: Readonly<Record<string, Float32Array>>;
  /** The part that goes, in [0, 1), of all dimensions, or by dimension or class. */
  readonly ratio: PerDimension<number>;
  /** What the paper's code does instead; widths are then not rebalanced. */
  readonly reference?: Reference;
}

/** Which channels stay, and how much that is. */
export interface Selection {
  /** Sorted kept indices by dimension. */
  readonly keep: Record<string, number[]>;
  /** The part of all channels that was asked to go, before rounding and minima. */
  readonly asked: number;
  /** The part that goes. */
  readonly given: number;
}

/**
 * Which channels stay. After rounding and minima the kept number of channels is at most what the ratio leaves, and short of that by
 * less than one rounding step: in every dimension when the ranking is local, in every class when it is global. Minima may keep more,
 * which `given` says.
 * @throws when a ratio is missing or outside [0, 1), roundTo or minimum is not a positive integer, or a score is not finite.
 */
export function select(options: SelectOptions): Selection {
  checkFields('select', options, { importance: 'object' });
  const { importance, reference } = options;
  const ratioOf = ratios(options.ratio, { names: Object.keys(importance), caller: 'select' });
  const ladders = makeLadders({ ...options, caller: 'select' });
  const asked = shareOf(ladders, ratioOf);
  if (reference) {
    const { ratio, roundTo = 1 } = options;
    if (typeof ratio !== 'number' || typeof roundTo !== 'number')
      throw new Error('select: expected one ratio and one roundTo for all dimensions with `reference`, got tables');
    const keep = selectAsReference(importance, { ...options, ratio, roundTo, reference });
    return { keep, asked, given: removedShare(keep, importance) };
  }
  const keep = keepSteps(ladders, climb(ladders, budgetsOf(ladders, ratioOf)));
  return { keep, asked, given: removedShare(keep, importance) };
}

/** The ratio of each dimension. @throws when it is missing or outside [0, 1) */
export function ratios(
  ratio: PerDimension<number>,
  { names, caller }: { names: readonly string[]; caller: string },
): (name: string) => number {
  for (const name of names) {
    const value = valueFor(ratio, name);
    if (value === undefined) throw new Error(`${caller}: expected a ratio for '${name}', got none`);
    if (!(value >= 0 && value < 1)) throw new Error(`${caller}: expected a ratio in [0, 1), got ${value}`);
  }
  return (name) => valueFor(ratio, name)!;
}

/** Channels to keep by class. */
export function budgetsOf(ladders: readonly Ladder[], ratioOf: (dimension: string) => number): Map<string, number> {
  const exact = new Map<string, { size: number; dropped: number }>();
  for (const ladder of ladders) {
    const { size, dropped } = exact.get(ladder.class) ?? { size: 0, dropped: 0 };
    const width = ladder.widths.at(-1)!;
    const more = ladder.dimensions.reduce((sum, { name }) => sum + width * ratioOf(name), 0);
    exact.set(ladder.class, { size: size + channelsAt(ladder, ladder.widths.length - 1), dropped: dropped + more });
  }
  return new Map([...exact].map(([name, { size, dropped }]) => [name, keptCount(size, dropped / size)]));
}

/** The kept channels at a number of steps of each ladder. */
export function keepSteps(ladders: readonly Ladder[], steps: readonly number[]): Record<string, number[]> {
  return Object.fromEntries(
    ladders.flatMap(({ dimensions, widths }, i) =>
      dimensions.map(({ name, order }) => [name, order.slice(0, widths[steps[i]!]!).sort((a, b) => a - b)] as const),
    ),
  );
}

/** The part of all channels that the ratios ask to remove. */
export function shareOf(ladders: readonly Ladder[], ratioOf: (dimension: string) => number): number {
  let [size, dropped] = [0, 0];
  for (const { dimensions, widths } of ladders) {
    for (const { name } of dimensions) {
      size += widths.at(-1)!;
      dropped += widths.at(-1)! * ratioOf(name);
    }
  }
  return dropped / size;
}

/** The part of all channels that is not kept. */
export function removedShare(
  keep: Readonly<Record<string, readonly number[]>>,
  importance: Readonly<Record<string, { readonly length: number }>>,
): number {
  const lengthOf = (lists: readonly { readonly length: number }[]) =>
    lists.reduce((sum, { length }) => sum + length, 0);
  return 1 - lengthOf(Object.values(keep)) / lengthOf(Object.values(importance));
}
