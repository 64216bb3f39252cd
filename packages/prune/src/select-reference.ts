import { type Normalise, normalise } from './normalise.ts';

/** Behaviour of the paper's code. */
export interface Reference {
  /**
   * The channels h * (size / heads) + c of all heads h share one score (their mean) and fall together. The paper's code does so
   * for the embedding, as a side effect; for q, k, v kept as plain [heads * headWidth] dimensions it is needed.
   */
  readonly averageHeads?: number;
  /** Global ranking with `roundTo`: of the channels under the threshold, the first by index fall, not the lowest by score. */
  readonly roundByIndex?: boolean;
}

/** What the paper's code keeps: sorted indices by dimension. Widths are rounded, and not rebalanced afterwards. */
export function selectAsReference(
  importance: Readonly<Record<string, Float32Array>>,
  how: {
    readonly ratio: number;
    readonly ranking: 'local' | 'global';
    readonly normalise: Normalise;
    readonly roundTo: number;
    readonly reference: Reference;
  },
): Record<string, number[]> {
  const { ratio, ranking, roundTo, reference } = how;
  const heads = reference.averageHeads ?? 1;
  const ranked = Object.entries(importance).map(([name, scores]) => ({
    name,
    scores: normalise(averageHeads(scores, heads), how.normalise).subarray(0, scores.length / heads),
  }));
  const drops = ranking === 'local' ? localDrops(ranked, { ratio, roundTo, heads }) : globalDrops(ranked, ratio);
  const step = roundTo / greatestCommonDivisor(roundTo, heads);
  const kept = ranked.map(({ name, scores }, i) => {
    const size = scores.length;
    let dropped = lowestFirst(scores).slice(0, drops[i]);
    if (ranking === 'global' && step > 1) {
      if (reference.roundByIndex) dropped.sort((a, b) => a - b);
      const count = reference.roundByIndex
        ? dropped.length - (dropped.length % step)
        : size - Math.ceil((size - dropped.length) / step) * step;
      dropped = dropped.slice(0, Math.max(0, count));
    }
    const falls = new Set(dropped.slice(0, Math.max(0, size - step)));
    const stays = Array.from(scores.keys()).filter((channel) => !falls.has(channel));
    return [name, Array.from({ length: heads }, (_, h) => stays.map((channel) => h * size + channel)).flat()];
  });
  return Object.fromEntries(kept);
}

/**
 * Every channel's score becomes the mean over the heads' channels at the same place: [heads * width] -> the same length.
 * @throws when the length is not a multiple of the heads.
 */
export function averageHeads(scores: Float32Array, heads: number): Float32Array {
  const width = scores.length / heads;
  if (!Number.isInteger(width)) {
    throw new Error(`averageHeads: expected a multiple of ${heads} channels, got ${scores.length}`);
  }
  return scores.map((_, i) => {
    let sum = 0;
    for (let h = 0; h < heads; h++) sum += scores[h * width + (i % width)]!;
    return sum / heads;
  });
}

interface Ranked {
  readonly name: string;
  readonly scores: Float32Array;
}

/** Channels kept by the ratio, before rounding; the small term undoes 10 * (1 - 0.9) = 0.99…. */
export function keptCount(size: number, ratio: number): number {
  return Math.floor(size * (1 - ratio) + 1e-9);
}

function localDrops(
  ranked: readonly Ranked[],
  { ratio, roundTo, heads }: { ratio: number; roundTo: number; heads: number },
): number[] {
  return ranked.map(({ scores }) => {
    const size = scores.length * heads;
    const kept = keptCount(size, ratio);
    return Math.floor((size - (kept - (kept % roundTo))) / heads);
  });
}

function globalDrops(ranked: readonly Ranked[], ratio: number): number[] {
  const all = ranked.flatMap(({ scores }, dimension) => Array.from(scores, (score) => ({ score, dimension })));
  all.sort((a, b) => a.score - b.score);
  const drops = ranked.map(() => 0);
  for (const { dimension } of all.slice(0, all.length - keptCount(all.length, ratio))) drops[dimension]!++;
  return drops;
}

/** Channel indices by rising score; equal scores by index. */
function lowestFirst(scores: Float32Array): number[] {
  return Array.from(scores.keys()).sort((a, b) => scores[a]! - scores[b]!);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
