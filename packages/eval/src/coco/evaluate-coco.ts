import { checkFields } from '@slimsam/weights';
import { type Grid, meanOfSet } from './accumulate.ts';
import { type Candidates, curvesOf, type OverlapType } from './evaluate.ts';
import type { CocoDetection, CocoInstance, Detections, GroundTruth } from './instances.ts';

/** The names of the 12 numbers, in pycocotools' order. */
export const cocoStats: readonly string[] = [
  ...['AP', 'AP50', 'AP75', 'APsmall', 'APmedium', 'APlarge'],
  ...['AR1', 'AR10', 'AR100', 'ARsmall', 'ARmedium', 'ARlarge'],
];

/** Sizes of objects: [least, most] pixels. */
export const cocoRanges: readonly { readonly name: string; readonly range: readonly [number, number] }[] = [
  { name: 'all', range: [0, 1e10] },
  { name: 'small', range: [0, 1024] },
  { name: 'medium', range: [1024, 9216] },
  { name: 'large', range: [9216, 1e10] },
];

export interface CocoOptions {
  readonly groundTruth: GroundTruth;
  readonly detections: Detections;
  /** 'segm' unless given. */
  readonly type?: OverlapType;
  /** All objects are of one class, as for proposals (pycocotools' useCats = 0). */
  readonly classAgnostic?: boolean;
  /** Detections of an image and category that are looked at, ascending, three; [1, 10, 100] unless given. */
  readonly maxDetections?: readonly number[];
  /**
   * Leaves pycocotools' known faults out. Each is there unless it is named here:
   * - 'headline-detections': AP (stats[0]) is always at 100 detections, and -1 where maxDetections has no 100; named, it is at the most.
   * - 'id-zero': a match with the annotation whose id is 0 counts as a false positive; named, it is a match like any other.
   * - 'ignore-field': an annotation's own `ignore` is replaced by its `iscrowd`; named, either makes it ignored.
   */
  readonly correct?: readonly CocoFault[];
  readonly signal?: AbortSignal;
}

export type CocoFault = 'headline-detections' | 'id-zero' | 'ignore-field';

export interface CocoResult {
  /** The 12 numbers of `cocoStats`; -1 where there is nothing to measure. */
  readonly stats: readonly number[];
  /** [thresholds, recalls, categories, ranges, maxDetections] */
  readonly precision: Grid;
  /** [thresholds, categories, ranges, maxDetections] */
  readonly recall: Grid;
  /** The scores at the recall thresholds, as precision. */
  readonly scores: Grid;
  /** IoU: 0.5 to 0.95; numpy's linspace, so that the ninth is 0.8999999999999999. */
  readonly thresholds: Float64Array;
  /** 0 to 1 in hundredths. */
  readonly recalls: Float64Array;
  /** Ids, ascending; [-1] where they do not count. */
  readonly categories: readonly number[];
  readonly maxDetections: readonly number[];
}

/** As numpy's linspace: steps of one width, and the end as given. */
export function linspace(start: number, end: number, count: number): Float64Array {
  const step = (end - start) / (count - 1);
  return Float64Array.from({ length: count }, (_, i) => (i === count - 1 ? end : i * step + start));
}

/**
 * COCO's average precision and recall, as pycocotools 2.0.11 gives them: the same matching, order of equal scores and means.
 *
 * @throws when the ground truth has no annotation or there is no detection; when maxDetections are not three ascending whole numbers above
 * 0; when masks are asked for and the files were read for boxes; when the signal aborts
 */
export function evaluateCoco(options: CocoOptions): CocoResult {
  checkFields('evaluateCoco', options, { groundTruth: 'object', detections: 'object' });
  const { groundTruth, detections, type = 'segm', classAgnostic = false, maxDetections = [1, 10, 100] } = options;
  const { correct = [], signal } = options;
  checkInputs({ groundTruth, detections, maxDetections });
  const thresholds = linspace(0.5, 0.95, 10);
  const recalls = linspace(0, 1, 101);
  const ids = groundTruth.categories.map(({ id }) => id).sort((a, b) => a - b);
  const groups = classAgnostic ? [together(groundTruth, detections)] : byCategory(ids, groundTruth, detections);
  const honoursIgnore = correct.includes('ignore-field');
  const seesZero = correct.includes('id-zero');
  const curves = curvesOf(groups, {
    type,
    thresholds,
    recalls,
    ranges: cocoRanges.map(({ range }) => range),
    maxDetections,
    ignored: ({ crowd, ignore }) => crowd || (honoursIgnore && ignore),
    crowd: ({ crowd }) => crowd,
    unseen: ({ id }) => id === 0 && !seesZero,
    forgiven: () => false,
    ...(signal && { signal }),
  });
  const headline = correct.includes('headline-detections') ? maxDetections.length - 1 : maxDetections.indexOf(100);
  const result = { ...curves, thresholds, recalls, categories: classAgnostic ? [-1] : ids, maxDetections };
  const ap = (at: { threshold?: number; range?: string; detections?: number }) => averagePrecision(result, at);
  const ar = (at: { range?: string; detections?: number }) => averageRecall(result, at);
  const sizes = ['small', 'medium', 'large'];
  const stats = [
    headline < 0 ? -1 : ap({ detections: headline }),
    ap({ threshold: 0.5 }),
    ap({ threshold: 0.75 }),
    ...sizes.map((range) => ap({ range })),
    ...[0, 1, 2].map((at) => ar({ detections: at })),
    ...sizes.map((range) => ar({ range })),
  ];
  return { stats, ...result };
}

type Measured = Pick<CocoResult, 'precision' | 'recall' | 'thresholds' | 'maxDetections'>;

/**
 * Mean precision over the recall thresholds, categories and IoU thresholds, or at one IoU threshold (the nearest one: pycocotools finds
 * nothing for 0.9, as its own list has 0.8999999999999999).
 *
 * @param at range: a name of `cocoRanges`, 'all' unless given; detections: an index into maxDetections, the last unless given;
 * categories: indices, all unless given
 * @throws when there is no such range or threshold
 */
export function averagePrecision(
  measured: Measured,
  at: { threshold?: number; range?: string; detections?: number; categories?: readonly number[] } = {},
): number {
  checkFields('averagePrecision', { at }, { at: 'object?' });
  checkFields('averagePrecision', measured, { precision: 'object', thresholds: 'list', maxDetections: 'list' });
  const { precision, thresholds, maxDetections } = measured;
  const [T, R, K, A, M] = precision.shape as [number, number, number, number, number];
  const [a, m] = [rangeIndex(at.range), at.detections ?? maxDetections.length - 1];
  const ts = at.threshold === undefined ? indices(T) : [thresholdIndex(thresholds, at.threshold)];
  const values: number[] = [];
  for (const t of ts) {
    for (let r = 0; r < R; r++) {
      for (const k of at.categories ?? indices(K))
        values.push(precision.data[(((t * R + r) * K + k) * A + a) * M + m]!);
    }
  }
  return meanOfSet(values);
}

/** Mean of the largest recalls over categories and IoU thresholds; `at` as in `averagePrecision`. */
export function averageRecall(measured: Measured, at: { range?: string; detections?: number } = {}): number {
  checkFields('averageRecall', { at }, { at: 'object?' });
  checkFields('averageRecall', measured, { recall: 'object', maxDetections: 'list' });
  const { recall, maxDetections } = measured;
  const [T, K, A, M] = recall.shape as [number, number, number, number];
  const [a, m] = [rangeIndex(at.range), at.detections ?? maxDetections.length - 1];
  return meanOfSet(indices(T * K).map((tk) => recall.data[(tk * A + a) * M + m]!));
}

const indices = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

function rangeIndex(name = 'all'): number {
  const index = cocoRanges.findIndex((range) => range.name === name);
  if (index < 0) throw new Error(`range: expected ${cocoRanges.map((range) => range.name).join(', ')}, got '${name}'`);
  return index;
}

function thresholdIndex(thresholds: Float64Array, threshold: number): number {
  const index = thresholds.findIndex((value) => Math.abs(value - threshold) < 1e-9);
  if (index < 0) throw new Error(`threshold: expected one of ${[...thresholds].join(', ')}, got ${threshold}`);
  return index;
}

/** Both lists of each category. */
export function byCategory(ids: readonly number[], groundTruth: GroundTruth, detections: Detections): Candidates[] {
  const groups = new Map(
    ids.map((id) => [id, { annotations: [] as CocoInstance[], detections: [] as CocoDetection[] }]),
  );
  for (const annotation of groundTruth.annotations) groups.get(annotation.categoryId)?.annotations.push(annotation);
  for (const detection of detections.detections) groups.get(detection.categoryId)?.detections.push(detection);
  return [...groups.values()];
}

/** All as one group; pycocotools joins an image's lists category by category. */
function together(groundTruth: GroundTruth, { detections }: Detections): Candidates {
  const sorted = <T extends { readonly categoryId: number }>(list: readonly T[]): T[] =>
    [...list].sort((a, b) => a.categoryId - b.categoryId);
  return { annotations: sorted(groundTruth.annotations), detections: sorted(detections) };
}

/** @throws when there is nothing to evaluate */
export function checkInputs(inputs: {
  groundTruth: GroundTruth;
  detections: Detections;
  maxDetections: readonly number[];
}): void {
  const { groundTruth, detections, maxDetections } = inputs;
  if (groundTruth.annotations.length === 0) {
    throw new Error(`${groundTruth.source}: annotations: expected at least one, got none`);
  }
  if (detections.detections.length === 0) throw new Error(`${detections.source}: expected detections, got none`);
  const ascending = maxDetections.every((most, i) => Number.isInteger(most) && most > (maxDetections[i - 1] ?? 0));
  if (maxDetections.length !== 3 || !ascending) {
    throw new Error(`maxDetections: expected three ascending whole numbers, got [${maxDetections.join(', ')}]`);
  }
}
