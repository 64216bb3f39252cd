/** A filter: its weight at a distance, in pixels, and the distance beyond which it is 0. */
export interface Filter {
  readonly support: number;
  readonly weight: (distance: number) => number;
}

/** Linear interpolation. */
export const triangle: Filter = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };

/** Cubic convolution with a = -0.5, as Pillow has it, and torch when it antialiases. */
export const cubic: Filter = {
  support: 2,
  weight(distance) {
    const x = Math.abs(distance);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  },
};

/** The inputs that make one output: from `start` on, with weights that sum to 1. */
export interface Taps {
  readonly start: number;
  readonly weights: readonly number[];
}

/**
 * Resampling of a row of `from` values to `to` values, whose centres are at halves; what lies beyond the ends does not count (Pillow,
 * src/libImaging/Resample.c; torch's `interpolate` with align_corners=False).
 *
 * @param options.antialias widens the filter when shrinking, so that every input counts
 */
export function resamplingTaps(
  { from, to }: { from: number; to: number },
  { filter, antialias }: { filter: Filter; antialias: boolean },
): Taps[] {
  const scale = from / to;
  const width = antialias ? Math.max(scale, 1) : 1;
  const support = filter.support * width;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = Array.from({ length: end - start }, (_, k) => filter.weight((start + k - centre + 0.5) / width));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { start, weights: weights.map((weight) => weight / total) };
  });
}
