/**
 * How the scores of one dimension are made comparable with another's.
 * - mean: x / mean. sum: x / sum. max: x / max. A vector of zeros becomes ones.
 * - standard: (x - mean) / deviation, with n - 1. A constant vector becomes zeros.
 * - gaussian-rank: the normal quantile of (rank - 1/2) / n, equal scores at their mean rank: only the order counts.
 * - none: x.
 */
export type Normalise = 'mean' | 'sum' | 'max' | 'standard' | 'gaussian-rank' | 'none';

/** Normalises the scores of one dimension. @throws when the way is unknown */
export function normalise(scores: Float32Array, how: Normalise): Float32Array {
  const sum = scores.reduce((total, x) => total + x, 0);
  const mean = sum / scores.length;
  switch (how) {
    case 'none':
      return scores.slice();
    case 'mean':
      return scores.map((x) => (mean === 0 ? 1 : x / mean));
    case 'sum':
      return scores.map((x) => (sum === 0 ? 1 : x / sum));
    case 'max': {
      const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
      return scores.map((x) => (most === 0 ? 1 : x / most));
    }
    case 'standard': {
      const squares = scores.reduce((total, x) => total + (x - mean) ** 2, 0);
      const deviation = Math.sqrt(squares / Math.max(1, scores.length - 1));
      return scores.map((x) => (deviation === 0 ? 0 : (x - mean) / deviation));
    }
    case 'gaussian-rank':
      return Float32Array.from(ranks(scores), (rank) => normalQuantile((rank + 0.5) / scores.length));
    default:
      throw new Error(
        `normalise: expected mean, sum, max, standard, gaussian-rank or none, got '${how satisfies never}'`,
      );
  }
}

/** Ranks from 0, equal values at the mean of theirs. */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const found = new Float64Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let i = start; i < end; i++) found[order[i]!] = (start + end - 1) / 2;
    start = end;
  }
  return found;
}

/** The standard normal's quantile, within 4.5e-4 (Abramowitz and Stegun 26.2.23). */
function normalQuantile(p: number): number {
  if (p === 0.5) return 0;
  const t = Math.sqrt(-2 * Math.log(Math.min(p, 1 - p)));
  const x =
    t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t ** 3);
  return p < 0.5 ? -x : x;
}
