import { classOf, type PerDimension, valueFor } from './axis.ts';
import { type Normalise, normalise } from './normalise.ts';

/**
 * The order in which the channels of a dimension, or of several that keep one width, come back when everything has been removed: steps of
 * `roundTo` channels each, the best first.
 */
export interface Ladder {
  readonly dimensions: readonly { readonly name: string /** Channels, the best first. */; readonly order: number[] }[];
  /** 'local': a class of its own; else the class in which its steps are ranked. */
  readonly class: string;
  /** Channels of each dimension below a step's number: 0, roundTo, 2 roundTo, …, size. */
  readonly widths: readonly number[];
  /** Mean normalised score of each step's channels. */
  readonly scores: readonly number[];
  /** Steps that are always kept. */
  readonly least: number;
}

export interface LadderOptions {
  readonly importance: Readonly<Record<string, Float32Array>>;
  readonly ranking: 'local' | 'global';
  readonly normalise: Normalise;
  readonly roundTo?: PerDimension<number>;
  readonly minimum?: PerDimension<number>;
  readonly sameWidth?: boolean | PerDimension<string>;
  readonly caller: string;
}

/** One ladder for each dimension, or for each set of dimensions of one width. @throws when an option or a score is not valid */
export function makeLadders(options: LadderOptions): Ladder[] {
  const sets = new Map<string, string[]>();
  for (const name of Object.keys(options.importance)) {
    const { sameWidth } = options;
    const stage = typeof sameWidth === 'boolean' || sameWidth === undefined ? '' : valueFor(sameWidth, name);
    const key = !sameWidth || stage === undefined ? name : `${classOf(name)} ${stage}`;
    sets.set(key, [...(sets.get(key) ?? []), name]);
  }
  return [...sets.values()].map((names) => makeLadder(names, options));
}

function makeLadder(names: readonly string[], options: LadderOptions): Ladder {
  const [first] = names as [string];
  const { importance, ranking, caller } = options;
  if (ranking !== 'local' && ranking !== 'global')
    throw new Error(`${caller}: expected ranking 'local' or 'global', got '${String(ranking)}'`);
  const size = importance[first]!.length;
  const roundTo = wholeNumber(options.roundTo, { name: first, otherwise: 1, what: `${caller}: expected roundTo` });
  const minimum = wholeNumber(options.minimum, { name: first, otherwise: 1, what: `${caller}: expected minimum` });
  const dimensions = names.map((name) => {
    const scores = importance[name]!;
    if (scores.length !== size)
      throw new Error(
        `${caller}: expected '${name}' and '${first}' of one size to keep one width, got ${scores.length} and ${size}`,
      );
    if (!scores.every(Number.isFinite))
      throw new Error(`${caller}: expected finite scores of '${name}', got NaN or Infinity`);
    const normal = normalise(scores, options.normalise);
    // equal scores: the lower index falls first
    return { name, normal, order: Array.from(scores.keys()).sort((a, b) => normal[b]! - normal[a]! || b - a) };
  });
  const widths = [0];
  while (widths.at(-1)! < size) widths.push(Math.min(size, widths.at(-1)! + roundTo));
  let last = Number.POSITIVE_INFINITY;
  const scores = widths.slice(1).map((end, step) => {
    let sum = 0;
    for (const { normal, order } of dimensions) for (let i = widths[step]!; i < end; i++) sum += normal[order[i]!]!;
    last = Math.min(last, sum / ((end - widths[step]!) * dimensions.length)); // rounding must not put a step before the one below it
    return last;
  });
  return {
    dimensions: dimensions.map(({ name, order }) => ({ name, order })),
    class: ranking === 'local' ? names.join() : classOf(first),
    widths,
    scores,
    least: widths.findIndex((width) => width >= Math.min(size, minimum)),
  };
}

function wholeNumber(
  values: PerDimension<number> | undefined,
  { name, otherwise, what }: { name: string; otherwise: number; what: string },
): number {
  const value = valueFor(values, name) ?? otherwise;
  if (Number.isInteger(value) && value >= 1) return value;
  throw new Error(`${what} to be a positive integer, got ${value}`);
}

/** How many channels of all its dimensions a ladder holds at a number of steps. */
export function channelsAt({ widths, dimensions }: Ladder, steps: number): number {
  return widths[steps]! * dimensions.length;
}

/**
 * Climbs the ladders of each class, best step first, as long as a class's budget of channels lasts; a step too large for what is left
 * ends its ladder.
 * @param budgets channels to keep, by class
 * @returns steps of each ladder
 */
export function climb(
  ladders: readonly Ladder[],
  budgets: ReadonlyMap<string, number>,
  order: readonly Step[] = stepsByScore(ladders),
): number[] {
  const steps = ladders.map(({ least }) => least);
  const left = new Map(budgets);
  ladders.forEach((ladder) => {
    left.set(ladder.class, (left.get(ladder.class) ?? 0) - channelsAt(ladder, ladder.least));
  });
  const ended = new Set<number>();
  for (const { ladder, step } of order) {
    const { class: name, widths, dimensions } = ladders[ladder]!;
    const cost = (widths[step + 1]! - widths[step]!) * dimensions.length;
    if (ended.has(ladder) || cost > left.get(name)!) ended.add(ladder);
    else {
      left.set(name, left.get(name)! - cost);
      steps[ladder] = step + 1;
    }
  }
  return steps;
}

/** One step of a ladder. */
export interface Step {
  readonly ladder: number;
  readonly step: number;
}

/** All steps above the least, the best first; of equal ones those of later ladders. */
export function stepsByScore(ladders: readonly Ladder[]): Step[] {
  const all = ladders.flatMap(({ scores, least }, ladder) =>
    scores.flatMap((score, step) => (step < least ? [] : [{ ladder, step, score }])),
  );
  return all.sort((a, b) => b.score - a.score || b.ladder - a.ladder || a.step - b.step);
}
