import { checkFields } from '@slimsam/weights';
import type { ImageRecord } from './records.ts';
import type { ResultsFolder } from './results-folder.ts';

/** Two runs on the same masks. */
export interface Comparison {
  /** Names of the models. */
  readonly first: string;
  readonly second: string;
  readonly images: number;
  readonly masks: number;
  /** Mean IoU (within each image, then over images) of the second less the first's. */
  readonly difference: number;
  /** 95 % of resamplings of the images lie within. */
  readonly interval: readonly [low: number, high: number];
  /** Share of masks that the second has better, of those that differ. */
  readonly better: number;
}

/**
 * Compares two runs mask by mask: the difference of their mIoU, with a bootstrap interval that resamples whole images, since masks of an
 * image are alike.
 *
 * @param options resamplings: 10,000 unless given; seed: 1 unless given
 * @throws when the runs have no mask in common, or their data differ
 */
export function compareResults(
  first: Pick<ResultsFolder, 'config' | 'records'>,
  second: Pick<ResultsFolder, 'config' | 'records'>,
  options: { readonly resamplings?: number; readonly seed?: number } = {},
): Comparison {
  checkFields('compareResults', { options }, { options: 'object?' });
  checkFields('compareResults', first, { config: 'object', records: 'iterable' });
  checkFields('compareResults', second, { config: 'object', records: 'iterable' });
  const { resamplings = 10_000, seed = 1 } = options;
  const others = new Map(second.records.map((record) => [record.id, record]));
  const differences: number[] = [];
  let [masks, better, worse] = [0, 0, 0];
  for (const record of first.records) {
    const other = others.get(record.id);
    if (!other) continue;
    if (other.data !== record.data) {
      throw new Error(
        `compareResults: '${record.name}': expected the same data in both runs, got other; evaluate both on one set`,
      );
    }
    const pairs = pairsOf(record, other);
    if (pairs.length === 0) continue;
    masks += pairs.length;
    for (const [a, b] of pairs) {
      if (b > a) better++;
      if (b < a) worse++;
    }
    differences.push(mean(pairs.map(([a, b]) => b - a)));
  }
  if (masks === 0) throw new Error('compareResults: expected masks of the same annotations in both runs, got none');
  const draw = generator(seed);
  const N = differences.length;
  const means = Float64Array.from({ length: resamplings }, () => {
    let sum = 0;
    for (let i = 0; i < N; i++) sum += differences[Math.floor(draw() * N)]!;
    return sum / N;
  }).sort();
  const at = (share: number) => means[Math.min(resamplings - 1, Math.floor(share * resamplings))]!;
  return {
    first: first.config.model.name,
    second: second.config.model.name,
    images: N,
    masks,
    difference: mean(differences),
    interval: [at(0.025), at(0.975)],
    better: better + worse === 0 ? 0.5 : better / (better + worse),
  };
}

function pairsOf(a: ImageRecord, b: ImageRecord): (readonly [number, number])[] {
  const ious = new Map(b.results.map(({ annotation_id, iou }) => [annotation_id, iou]));
  return a.results.flatMap(({ annotation_id, iou }) => {
    const other = annotation_id === undefined ? undefined : ious.get(annotation_id);
    return iou === undefined || other === undefined ? [] : [[iou, other] as const];
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Numbers in [0, 1) of a seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let h = Math.imul(state ^ (state >>> 15), 1 | state);
    h = (h + Math.imul(h ^ (h >>> 7), 61 | h)) ^ h;
    return ((h ^ (h >>> 14)) >>> 0) / 2 ** 32;
  };
}
