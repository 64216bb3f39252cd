/** A filter: its weight at a distance, in pixels, and the distance beyond which it is 0. */
export interface Filter {
  readonly support: number;
  readonly weight: (distance: number) => number;
}

/** Linear interpolation. */
export const triangle: Filter = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };

/** Keys' cubic convolution (1981, eq. 15 with a free a). */
const keys = (a: number): Filter => ({
  support: 2,
  weight(distance) {
    const x = Math.abs(distance);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
  },
});

/** Cubic convolution as Pillow has it, and torch when it antialiases. */
export const cubic: Filter = keys(-0.5);

/** Cubic convolution as torch and ONNX have it, which repeat the edges with it. */
export const sharpCubic: Filter = keys(-0.75);

/** The inputs that make one output: from `start` on, with weights that sum to 1. */
export interface Taps {
  readonly start: number;
  readonly weights: readonly number[];
}

/**
 * Resampling of a row of `from` values to `to` values, whose centres are at halves (Pillow, src/libImaging/Resample.c; torch's
 * `interpolate` with align_corners=False).
 *
 * @param options.antialias widens the filter when shrinking, so that every input counts
 * @param options.repeatEdges the values at the ends go on beyond them; else what lies there does not count
 */
export function resamplingTaps(
  { from, to }: { from: number; to: number },
  { filter, antialias, repeatEdges = false }: { filter: Filter; antialias: boolean; repeatEdges?: boolean },
): Taps[] {
  const scale = from / to;
  const width = antialias ? Math.max(scale, 1) : 1;
  const support = filter.support * width;
  const within = (place: number) => Math.min(from - 1, Math.max(0, place));
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const [first, end] = [Math.floor(centre - support + 0.5), Math.trunc(centre + support + 0.5)];
    const start = repeatEdges ? within(first) : Math.max(0, first);
    const stop = repeatEdges ? within(end - 1) + 1 : Math.min(from, end);
    const weights = Array<number>(stop - start).fill(0);
    for (let place = repeatEdges ? first : start; place < (repeatEdges ? end : stop); place++)
      weights[within(place) - start]! += filter.weight((place - centre + 0.5) / width);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { start, weights: weights.map((weight) => weight / total) };
  });
}
