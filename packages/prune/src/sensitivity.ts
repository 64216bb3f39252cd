import { type Axes, checkFields, dims, disposeWeights, type Weights } from '@slimsam/weights';
import { presentAxes } from './axis.ts';
import { type RankingOptions, select } from './select.ts';
import { prune } from './surgery.ts';

export interface SensitivityOptions extends Partial<Omit<RankingOptions, 'ranking'>> {
  readonly weights: Weights;
  readonly axes: Axes;
  /** Scores [channels] of the dimensions to try, from `importance`. */
  readonly importance: Readonly<Record<string, Float32Array>>;
  /** The parts to remove, each in (0, 1), rising; 0.1, 0.3, 0.5, 0.7 and 0.9 unless given. */
  readonly shares?: readonly number[];
  /** How wrong a pruned model is, >= 0: the embedding's squared error. Its weights are freed afterwards. */
  readonly error: (weights: Weights) => number | Promise<number>;
  readonly signal?: AbortSignal;
}

/** The error when a share of one dimension alone is removed. */
export interface SensitivityPoint {
  readonly dimension: string;
  readonly share: number;
  readonly error: number;
}

/**
 * Removes shares of one dimension at a time, the lowest scores first, and measures the error without training: the points of a plot.
 * @throws when a share is not in (0, 1), the error is not a number, or the signal aborts (its reason)
 */
export async function* sensitivity(options: SensitivityOptions): AsyncGenerator<SensitivityPoint, void, undefined> {
  checkFields('sensitivity', options, { weights: 'object', axes: 'object', importance: 'object', error: 'function' });
  const { weights, axes, importance, shares = [0.1, 0.3, 0.5, 0.7, 0.9], error, signal, ...how } = options;
  for (const share of shares)
    if (!(share > 0 && share < 1)) throw new Error(`sensitivity: expected shares in (0, 1), got ${share}`);
  dims(presentAxes(axes, weights), weights);
  for (const [dimension, scores] of Object.entries(importance)) {
    for (const share of shares) {
      signal?.throwIfAborted();
      const ranking = { normalise: 'none', ...how, ranking: 'local' } as const;
      const { keep } = select({ importance: { [dimension]: scores }, ratio: share, ...ranking });
      const pruned = prune(weights, axes, keep);
      try {
        const value = await error(pruned);
        if (!(value >= 0)) throw new Error(`sensitivity: expected an error >= 0 of '${dimension}', got ${value}`);
        yield { dimension, share, error: value };
      } finally {
        disposeWeights(pruned);
      }
    }
  }
}

/**
 * Ratios by dimension that cost about the same error each, so that a dimension that bears more loses more: the largest error level, by
 * bisection, at which the mean ratio over `sizes` is `ratio`. Between the points of a dimension the error is taken as linear in the share,
 * from no error at 0; it counts as growing. For `plan` or `select`, local.
 * @param options.sizes channels by dimension
 * @throws when the ratio is not in [0, 1) or more than the points reach, or a dimension has no points
 */
export function ratiosBySensitivity(
  points: readonly SensitivityPoint[],
  options: { readonly ratio: number; readonly sizes: Readonly<Record<string, number>> },
): Record<string, number> {
  checkFields('ratiosBySensitivity', { points }, { points: 'list' });
  checkFields('ratiosBySensitivity', options, { ratio: 'number', sizes: 'object' });
  const { ratio, sizes } = options;
  if (!(ratio >= 0 && ratio < 1)) throw new Error(`ratiosBySensitivity: expected a ratio in [0, 1), got ${ratio}`);
  const curves = Object.keys(sizes).map((dimension) => {
    const curve = [{ share: 0, error: 0 }];
    const own = points.filter((point) => point.dimension === dimension).sort((a, b) => a.share - b.share);
    if (own.length === 0) throw new Error(`ratiosBySensitivity: expected points of '${dimension}', got none`);
    for (const { share, error } of own) curve.push({ share, error: Math.max(error, curve.at(-1)!.error) });
    return { dimension, curve };
  });
  const total = Object.values(sizes).reduce((sum, size) => sum + size, 0);
  const at = (level: number) => curves.map(({ curve }) => shareAt(curve, level));
  const removed = (level: number) =>
    at(level).reduce((sum, share, i) => sum + share * sizes[curves[i]!.dimension]!, 0) / total;
  let [low, high] = [0, Math.max(...curves.map(({ curve }) => curve.at(-1)!.error))];
  if (removed(high) < ratio)
    throw new Error(
      `ratiosBySensitivity: expected points up to a ratio of ${ratio}, got ${removed(high).toFixed(3)}; measure larger shares`,
    );
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (removed(middle) < ratio) low = middle;
    else high = middle;
  }
  const shares = at(high);
  const scale = removed(high) === 0 ? 0 : ratio / removed(high); // a step in the curve may overshoot
  return Object.fromEntries(curves.map(({ dimension }, i) => [dimension, shares[i]! * Math.min(1, scale)]));
}

/** The largest share whose error is at most the level. */
function shareAt(curve: readonly { readonly share: number; readonly error: number }[], level: number): number {
  const above = curve.findIndex(({ error }) => error > level);
  if (above < 0) return curve.at(-1)!.share;
  const [from, to] = [curve[above - 1]!, curve[above]!];
  return from.share + ((level - from.error) / (to.error - from.error)) * (to.share - from.share);
}
