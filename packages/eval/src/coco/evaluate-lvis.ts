import { checkFields } from '@slimsam/weights';
import { curvesOf, type OverlapType } from './evaluate.ts';
import type { CocoResult } from './evaluate-coco.ts';
import { averagePrecision, averageRecall, byCategory, checkInputs, cocoRanges, linspace } from './evaluate-coco.ts';
import type { CocoDetection, Detections, GroundTruth } from './instances.ts';

/** The names of the 13 numbers, in the order of the lvis package. */
export const lvisStats: readonly string[] = [
  ...['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf'],
  ...['AR@300', 'ARs@300', 'ARm@300', 'ARl@300'],
];

export interface LvisOptions {
  readonly groundTruth: GroundTruth;
  readonly detections: Detections;
  /** 'segm' unless given. */
  readonly type?: OverlapType;
  /** Detections of an image, over all categories; 300 unless given. */
  readonly maxDetections?: number;
  readonly signal?: AbortSignal;
}

/**
 * LVIS's figures, as the lvis package 0.5.3 gives them. Its rules for a federated set: at most 300 detections an image; detections of a
 * category count only in images where it is annotated or known to be absent; where not all instances are annotated, detections without
 * a match do not count; there are no crowds; annotations and detections of area 0 are left out. APr, APc and APf are of the rare, common
 * and frequent categories.
 *
 * @throws as evaluateCoco
 */
export function evaluateLvis(options: LvisOptions): Omit<CocoResult, 'maxDetections'> {
  checkFields('evaluateLvis', options, { groundTruth: 'object', detections: 'object' });
  const { groundTruth, detections, type = 'segm', maxDetections = 300, signal } = options;
  checkInputs({ groundTruth, detections, maxDetections: [1, 2, maxDetections] });
  const annotations = groundTruth.annotations.filter(({ area }) => area > 0);
  const ids = groundTruth.categories.map(({ id }) => id).sort((a, b) => a - b);
  const images = new Map(
    groundTruth.images.map(({ id, absent, incomplete }) => [
      id,
      { judged: new Set(absent), incomplete: new Set(incomplete) },
    ]),
  );
  for (const { imageId, categoryId } of annotations) images.get(imageId)?.judged.add(categoryId);
  const judged = mostOfEachImage(detections.detections, maxDetections).filter(
    ({ imageId, categoryId, area }) => area > 0 && images.get(imageId)?.judged.has(categoryId),
  );
  const thresholds = linspace(0.5, 0.95, 10);
  const recalls = linspace(0, 1, 101);
  const groups = byCategory(ids, { ...groundTruth, annotations }, { ...detections, detections: judged });
  const curves = curvesOf(groups, {
    type,
    thresholds,
    recalls,
    ranges: cocoRanges.map(({ range }) => range),
    maxDetections: [maxDetections],
    ignored: ({ ignore }) => ignore,
    crowd: () => false,
    unseen: ({ id }) => id === 0,
    forgiven: ({ imageId, categoryId }) => images.get(imageId)?.incomplete.has(categoryId) ?? false,
    ...(signal && { signal }),
  });
  const result = { ...curves, thresholds, recalls, categories: ids };
  const measured = { ...result, maxDetections: [maxDetections] };
  const frequency = new Map(groundTruth.categories.map((category) => [category.id, category.frequency]));
  const sizes = ['small', 'medium', 'large'];
  const stats = [
    averagePrecision(measured),
    ...[0.5, 0.75].map((threshold) => averagePrecision(measured, { threshold })),
    ...sizes.map((range) => averagePrecision(measured, { range })),
    ...(['r', 'c', 'f'] as const).map((group) =>
      averagePrecision(measured, { categories: ids.flatMap((id, k) => (frequency.get(id) === group ? [k] : [])) }),
    ),
    averageRecall(measured),
    ...sizes.map((range) => averageRecall(measured, { range })),
  ];
  return { stats, ...result };
}

/** The detections of each image with the highest scores, the earlier of equals. */
function mostOfEachImage(detections: readonly CocoDetection[], most: number): CocoDetection[] {
  const images = new Map<number, CocoDetection[]>();
  for (const detection of detections) {
    const list = images.get(detection.imageId);
    if (list) list.push(detection);
    else images.set(detection.imageId, [detection]);
  }
  return [...images.values()].flatMap((list) =>
    list.length <= most ? list : [...list].sort((a, b) => b.score - a.score).slice(0, most),
  );
}
