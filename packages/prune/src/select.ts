export type Normalise = 'mean' | 'standard' | 'none';

/** Behaviour of the paper's code that is off by default. */
export interface Reference {
  /**
   * The channels h * (size / heads) + c of all heads h share one score (their mean) and fall together. The paper's code does so
   * for the embedding, as a side effect; for q, k, v kept as plain [heads * headWidth] dimensions it is needed.
   */
  averageHeads?: number;
  /** Global ranking with `roundTo`: of the channels under the threshold, the first by index fall, not the lowest by score. */
  roundByIndex?: boolean;
}

export interface SelectOptions {
  /** Scores [channels] by dimension, from `importance`. */
  importance: Readonly<Record<string, Float32Array>>;
  /** The part that goes, in [0, 1). */
  ratio: number;
  /** 'local': the ratio in every dimension by itself. 'global': one threshold over all dimensions given. */
  ranking: 'local' | 'global';
  /** Stage 1 of the paper uses 'mean', stage 2 'standard'. */
  normalise: Normalise;
  /**
   * Kept widths become multiples of this: rounded down for 'local' (768 at 0.77 to multiples of 12: 168), up for 'global',
   * where no channel above the threshold falls. At least one multiple is kept. Default 1.
   */
  roundTo?: number;
  reference?: Reference;
}

/**
 * Which channels stay: sorted kept indices by dimension.
 * @throws when the ratio is outside [0, 1), roundTo is not a positive integer, or a score is not finite.
 */
export function select(options: SelectOptions): Record<string, number[]> {
  const { ratio, ranking, roundTo = 1, reference = {} } = options;
  const heads = reference.averageHeads ?? 1;
  if (!(ratio >= 0 && ratio < 1)) throw new Error(`select: expected a ratio in [0, 1), got ${ratio}`);
  if (!Number.isInteger(roundTo) || roundTo < 1) {
    throw new Error(`select: expected roundTo to be a positive integer, got ${roundTo}`);
  }
  const ranked = Object.entries(options.importance).map(([name, scores]) => {
    if (!scores.every(Number.isFinite))
      throw new Error(`select: expected finite scores of '${name}', got NaN or Infinity`);
    const normal = normalise(averageHeads(scores, heads), options.normalise);
    return { name, scores: normal.subarray(0, scores.length / heads) };
  });
  const drops = ranking === 'local' ? localDrops(ranked, ratio, roundTo, heads) : globalDrops(ranked, ratio);
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
 * Scores made comparable: 'mean' x / mean; 'standard' (x - mean) / std with the sample deviation (n - 1); 'none'.
 * A constant vector gives ones ('mean') or zeros ('standard').
 */
export function normalise(scores: Float32Array, how: Normalise): Float32Array {
  if (how === 'none') return scores.slice();
  const mean = scores.reduce((sum, x) => sum + x, 0) / scores.length;
  if (how === 'mean') return scores.map((x) => (mean === 0 ? 1 : x / mean));
  const squares = scores.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  const deviation = Math.sqrt(squares / Math.max(1, scores.length - 1));
  return scores.map((x) => (deviation === 0 ? 0 : (x - mean) / deviation));
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
  name: string;
  scores: Float32Array;
}

/** Channels kept by the ratio, before rounding; the small term undoes 10 * (1 - 0.9) = 0.99…. */
function keptCount(size: number, ratio: number): number {
  return Math.floor(size * (1 - ratio) + 1e-9);
}

function localDrops(ranked: readonly Ranked[], ratio: number, roundTo: number, heads: number): number[] {
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
