import type { MaskSize } from '../masks/rle.ts';
import { matchEdges } from './match-edges.ts';
import { thinEdges } from './thin-edges.ts';

/** Thresholds of an edge map: 0.01 to 0.99. */
export const edgeThresholds: readonly number[] = Array.from({ length: 99 }, (_, i) => (i + 1) / 100);

/** Pixels of an edge map at each threshold that have a partner in people's boundaries, and of all people's boundaries that have one. */
export interface EdgeCounts {
  /** Of the edge map, with any of the people's. */
  readonly found_matched: readonly number[];
  readonly found: readonly number[];
  /** Of each person's boundaries, added up. */
  readonly truth_matched: readonly number[];
  readonly truth: readonly number[];
}

/**
 * Counts of one image by BSDS500's protocol: at each threshold the edge map is thinned and matched with each person's boundaries.
 *
 * @param edges [height * width] in [0, 1], row by row
 * @param boundaries of each person: [height * width], not 0 on a boundary
 * @param options.tolerance share of the image's diagonal, 0.0075 unless given
 * @throws when there are no boundaries, or a size is wrong
 */
export function countEdges(
  edges: Float32Array,
  boundaries: readonly Uint8Array[],
  { size, tolerance = 0.0075 }: { readonly size: MaskSize; readonly tolerance?: number },
): EdgeCounts {
  const [height, width] = size;
  if (boundaries.length === 0) throw new Error('countEdges: expected boundaries of at least one person, got none');
  const wrong = [edges, ...boundaries].find(({ length }) => length !== height * width);
  if (wrong) throw new Error(`countEdges: expected ${height} x ${width} pixels, got ${wrong.length}`);
  const truths = boundaries.map((mask) => mask.map((value) => (value === 0 ? 0 : 1)));
  const pixels = (mask: Uint8Array) => mask.reduce((sum, inside) => sum + inside, 0);
  const all = truths.reduce((sum, truth) => sum + pixels(truth), 0);
  const counts = { found_matched: [] as number[], found: [] as number[], truth_matched: [] as number[] };
  const distance = tolerance * Math.hypot(height, width);
  for (const threshold of edgeThresholds) {
    const mask = Uint8Array.from(edges, (value) => (value >= threshold ? 1 : 0));
    thinEdges(mask, width);
    const matched = new Uint8Array(mask.length);
    let ofTruth = 0;
    for (const truth of truths) {
      const { found, count } = matchEdges(mask, truth, { size, tolerance: distance });
      ofTruth += count;
      for (let at = 0; at < found.length; at++) matched[at]! |= found[at]!;
    }
    counts.found_matched.push(pixels(matched));
    counts.found.push(pixels(mask));
    counts.truth_matched.push(ofTruth);
  }
  return { ...counts, truth: edgeThresholds.map(() => all) };
}

/** BSDS500's numbers. */
export interface EdgeScores {
  /** F at the best threshold of the whole set, between two thresholds by linear interpolation. */
  readonly ods: number;
  readonly ods_threshold: number;
  /** F with each image's own best threshold. */
  readonly ois: number;
  /** Mean precision over recall. */
  readonly ap: number;
  /** Recall at a precision of 0.5. */
  readonly r50: number;
}

const ratio = (a: number, b: number) => a / Math.max(Number.EPSILON, b);
const harmonic = (p: number, r: number) => ratio(2 * p * r, p + r);

/** ODS, OIS, AP and R50 of images' counts, as edgesEvalDir of Dollár's toolbox, BSDS500's own numbers with AP over precision. */
export function edgeScores(images: readonly EdgeCounts[]): EdgeScores {
  const totals = edgeThresholds.map((_, k) => sumAt(images, () => k));
  const [precision, recall] = [totals.map(({ p }) => p), totals.map(({ r }) => r)];
  let [ods, odsThreshold] = [-1, 0];
  for (let k = 1; k < edgeThresholds.length; k++) {
    for (let step = 0; step < 100; step++) {
      const share = step / 99;
      const between = (values: readonly number[]) => values[k]! * share + values[k - 1]! * (1 - share);
      const f = harmonic(between(precision), between(recall));
      if (f > ods) [ods, odsThreshold] = [f, between(edgeThresholds)];
    }
  }
  const best = sumAt(images, (image) => {
    const fs = edgeThresholds.map((_, k) => {
      const { p, r } = sumAt([image], () => k);
      return harmonic(p, r);
    });
    return fs.indexOf(Math.max(...fs));
  });
  const byRecall = firstOfEqual(recall, precision);
  const grid = Array.from({ length: 101 }, (_, i) => i / 100);
  const byPrecision = firstOfEqual(precision, recall);
  return {
    ods,
    ods_threshold: odsThreshold,
    ois: harmonic(best.p, best.r),
    ap: grid.reduce((sum, at) => sum + (interpolated(byRecall, at) ?? 0), 0) / 100,
    r50: interpolated(byPrecision, Math.max(byPrecision[0]![0], 0.5)) ?? 0,
  };
}

function sumAt(images: readonly EdgeCounts[], indexOf: (image: EdgeCounts) => number): { p: number; r: number } {
  const sum = { found_matched: 0, found: 0, truth_matched: 0, truth: 0 };
  for (const image of images) {
    const k = indexOf(image);
    for (const key of ['found_matched', 'found', 'truth_matched', 'truth'] as const) sum[key] += image[key][k]!;
  }
  return { p: ratio(sum.found_matched, sum.found), r: ratio(sum.truth_matched, sum.truth) };
}

/** Points [x, y] by ascending x; of equal x the first. */
function firstOfEqual(xs: readonly number[], ys: readonly number[]): (readonly [number, number])[] {
  const points = new Map<number, number>();
  xs.forEach((x, i) => {
    if (!points.has(x)) points.set(x, ys[i]!);
  });
  return [...points].sort(([a], [b]) => a - b);
}

/** Linear between the points; undefined beyond them. */
function interpolated(points: readonly (readonly [number, number])[], at: number): number | undefined {
  const high = points.findIndex(([x]) => x >= at);
  if (high < 0) return undefined;
  const [x1, y1] = points[high]!;
  if (x1 === at) return y1;
  const low = points[high - 1];
  return low && low[1] + ((y1 - low[1]) * (at - low[0])) / (x1 - low[0]);
}
