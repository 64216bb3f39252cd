import { checkFields } from '@slimsam/weights';
import { ranks } from './normalise.ts';
import { type SelectOptions, select } from './select.ts';

/** Spearman's rank correlation of two scorings, equal scores at their mean rank. @throws when lengths differ or there are fewer than two */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  checkFields('spearman', { a, b }, { a: 'list', b: 'list' });
  if (a.length !== b.length || a.length < 2)
    throw new Error(`spearman: expected two scorings of two channels or more, got ${a.length} and ${b.length}`);
  const [x, y] = [ranks(a), ranks(b)];
  const middle = (a.length - 1) / 2;
  let [both, ofX, ofY] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    both += (x[i]! - middle) * (y[i]! - middle);
    ofX += (x[i]! - middle) ** 2;
    ofY += (y[i]! - middle) ** 2;
  }
  return ofX === 0 || ofY === 0 ? 0 : both / Math.sqrt(ofX * ofY);
}

/** The part of the kept channels of `a` that `b` keeps too. */
export function keptOverlap(
  a: Readonly<Record<string, readonly number[]>>,
  b: Readonly<Record<string, readonly number[]>>,
): number {
  checkFields('keptOverlap', { a, b }, { a: 'object', b: 'object' });
  let [kept, shared] = [0, 0];
  for (const [name, channels] of Object.entries(a)) {
    const others = new Set(b[name] ?? []);
    kept += channels.length;
    shared += channels.filter((channel) => others.has(channel)).length;
  }
  return kept === 0 ? 1 : shared / kept;
}

/** How far two scorings agree. */
export interface Agreement {
  /** Mean of Spearman's correlation over dimensions. */
  readonly spearman: number;
  /** The part of the kept channels that both keep. */
  readonly overlap: number;
}

type Scores = SelectOptions['importance'];

/** Compares two scorings of the same dimensions, and what `select` keeps by them. @throws when their dimensions differ, or as `select` */
export function agreement(first: Scores, second: Scores, how: Omit<SelectOptions, 'importance'>): Agreement {
  checkFields('agreement', { first, second, how }, { first: 'object', second: 'object', how: 'object' });
  const names = Object.keys(first);
  if (names.length === 0 || names.sort().join() !== Object.keys(second).sort().join())
    throw new Error(
      `agreement: expected scores of the same dimensions, got ${names.join(', ')} and ${Object.keys(second).join(', ')}`,
    );
  const correlation = names.reduce((sum, name) => sum + spearman(first[name]!, second[name]!), 0) / names.length;
  const [a, b] = [first, second].map((importance) => select({ ...how, importance }).keep);
  return { spearman: correlation, overlap: keptOverlap(a!, b!) };
}

/** The scores after some photographs. */
export interface ScoresAt {
  readonly photographs: number;
  readonly scores: Scores;
}

/** One point of a plot: the agreement with the scores of all photographs. */
export interface StabilityPoint extends Agreement {
  readonly photographs: number;
}

/**
 * How scores settle as photographs are added: their agreement with the last ones, and the number of photographs from which on the kept set
 * stays within `tolerance` of theirs.
 * @param series by rising numbers of photographs
 * @param how as for `select`; `tolerance` is 0.02 unless given
 * @throws when there are fewer than two scorings, or their numbers of photographs do not rise
 */
export function rankStability(
  series: readonly ScoresAt[],
  how: Omit<SelectOptions, 'importance'> & { readonly tolerance?: number },
): { points: StabilityPoint[]; stableFrom: number } {
  checkFields('rankStability', { series, how }, { series: 'list', how: 'object' });
  const { tolerance = 0.02, ...options } = how;
  if (series.length < 2) throw new Error(`rankStability: expected two scorings or more, got ${series.length}`);
  series.forEach(({ photographs }, i) => {
    if (i > 0 && photographs <= series[i - 1]!.photographs)
      throw new Error(
        `rankStability: expected rising numbers of photographs, got ${photographs} after ${series[i - 1]!.photographs}`,
      );
  });
  const last = series.at(-1)!;
  const points = series.map(({ photographs, scores }) => ({ photographs, ...agreement(scores, last.scores, options) }));
  const lastUnstable = points.findLastIndex(({ overlap }) => overlap < 1 - tolerance);
  return { points, stableFrom: points[lastUnstable + 1]!.photographs };
}
