import { averagePrecision, cocoRanges, cocoStats, evaluateCoco } from '../coco/evaluate-coco.ts';
import { evaluateLvis, lvisStats } from '../coco/evaluate-lvis.ts';
import type { CocoCategory, CocoDetection, Detections, GroundTruth } from '../coco/instances.ts';
import { edgeScores } from '../edges/edge-scores.ts';
import { rleArea, rleBox } from '../masks/rle.ts';
import type { ImageRecord, ResultRecord } from './records.ts';

/** What a results folder comes to. Means of IoU are within each image first, then over images, unless they say 'over masks'. */
export interface Summary {
  readonly protocol: string;
  readonly images: number;
  readonly masks: number;
  /** Annotations of which no prompt could be made. */
  readonly left_out: number;
  /** Records that were wrong and skipped. */
  readonly bad: number;
  readonly miou?: number;
  readonly miou_over_masks?: number;
  readonly boundary_iou?: number;
  /** Of the best of several masks. */
  readonly best_miou?: number;
  /** After each click. */
  readonly click_miou?: readonly number[];
  /** Over masks of small, medium and large objects; -1 where there are none. */
  readonly miou_by_size?: Readonly<Record<string, number>>;
  /** COCO's or LVIS's numbers by name, of masks; and COCO's AP by boundary. */
  readonly stats?: Readonly<Record<string, number>>;
  readonly boundary_ap?: number;
  /** BSDS500's numbers: ods, ods_threshold, ois, ap and r50. */
  readonly edges?: Readonly<Record<string, number>>;
}

/** Summarises records, in the order of their index: the same whatever the order they came in. */
export function summarise(
  records: readonly ImageRecord[],
  options: {
    readonly protocol: string;
    readonly rules?: 'coco' | 'lvis';
    readonly images?: GroundTruth['images'];
    readonly categories: readonly CocoCategory[];
    readonly bad: number;
  },
): Summary {
  const sorted = [...records].sort((a, b) => a.index - b.index);
  const results = sorted.flatMap((record) => record.results);
  const measured = results.filter(({ iou }) => iou !== undefined);
  const edges = sorted.flatMap((record) => record.edges ?? []);
  const clicks = Math.max(0, ...results.map(({ click_ious }) => click_ious?.length ?? 0));
  return {
    protocol: options.protocol,
    images: sorted.length,
    masks: results.length,
    left_out: sorted.reduce((sum, { left_out }) => sum + left_out.length, 0),
    bad: options.bad,
    ...(measured.length > 0 && {
      miou: overImages(sorted, ({ iou }) => iou),
      miou_over_masks: mean(measured.map(({ iou }) => iou!)),
      boundary_iou: overImages(sorted, ({ boundary_iou }) => boundary_iou),
      miou_by_size: bySize(sorted),
    }),
    ...(results.some(({ best_iou }) => best_iou !== undefined) && {
      best_miou: overImages(sorted, ({ best_iou }) => best_iou),
    }),
    ...(clicks > 0 && {
      click_miou: Array.from({ length: clicks }, (_, i) => overImages(sorted, ({ click_ious }) => click_ious?.[i])),
    }),
    ...(edges.length > 0 && { edges: { ...edgeScores(edges) } }),
    ...(options.rules && cocoNumbers(sorted, { ...options, rules: options.rules })),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Images without a value do not count. */
function overImages(records: readonly ImageRecord[], valueIn: (result: ResultRecord) => number | undefined): number {
  const means = records.flatMap(({ results }) => {
    const values = results.map(valueIn).filter((value) => value !== undefined);
    return values.length > 0 ? [mean(values)] : [];
  });
  return mean(means);
}

function bySize(records: readonly ImageRecord[]): Record<string, number> {
  const pairs = records.flatMap(({ truths, results }) => {
    const areas = new Map(truths.map(({ id, area }) => [id, area]));
    return results.map(({ annotation_id, iou }) => ({ area: areas.get(annotation_id ?? Number.NaN), iou }));
  });
  const inRange = ([least, most]: readonly [number, number]) =>
    pairs.filter(({ area = -1 }) => area >= least && area <= most).map(({ iou }) => iou!);
  return Object.fromEntries(
    cocoRanges.slice(1).map(({ name, range }) => {
      const ious = inRange(range);
      return [name, ious.length > 0 ? mean(ious) : -1];
    }),
  );
}

/** Ground truth and detections as COCO's evaluation takes them. */
export function cocoInputs(
  records: readonly ImageRecord[],
  categories: readonly CocoCategory[],
  images?: GroundTruth['images'],
): { groundTruth: GroundTruth; detections: Detections } {
  const known = new Map(images?.map((image) => [image.id, image]));
  const groundTruth: GroundTruth = {
    source: 'truths',
    categories,
    images: records.map(
      ({ id, name, width, height }) =>
        known.get(id) ?? { id, width, height, fileName: name, absent: [], incomplete: [] },
    ),
    annotations: records.flatMap(({ id: imageId, truths }) =>
      truths.map(({ id, category_id, area, iscrowd, ignore, bbox, segmentation }) => ({
        ...{ id, imageId, categoryId: category_id, area, box: bbox, segmentation },
        ...{ crowd: iscrowd === 1, ignore: ignore === 1 },
      })),
    ),
  };
  const detections = records.flatMap(({ id: imageId, results }) =>
    results.map(
      ({ category_id, score, segmentation }): CocoDetection => ({
        ...{ imageId, categoryId: category_id, score, segmentation },
        ...{ area: rleArea(segmentation), box: rleBox(segmentation) },
      }),
    ),
  );
  return { groundTruth, detections: { source: 'results', detections } };
}

function cocoNumbers(
  records: readonly ImageRecord[],
  {
    rules,
    categories,
    images,
  }: { rules: 'coco' | 'lvis'; categories: readonly CocoCategory[]; images?: GroundTruth['images'] },
): Pick<Summary, 'stats' | 'boundary_ap'> {
  const inputs = cocoInputs(records, categories, images);
  if (inputs.groundTruth.annotations.length === 0 || inputs.detections.detections.length === 0) return {}; // of a small shard
  const named = (names: readonly string[], stats: readonly number[]) =>
    Object.fromEntries(names.map((name, i) => [name, stats[i]!]));
  if (rules === 'lvis') return { stats: named(lvisStats, evaluateLvis(inputs).stats) };
  return {
    stats: named(cocoStats, evaluateCoco(inputs).stats),
    boundary_ap: averagePrecision(evaluateCoco({ ...inputs, type: 'boundary' })),
  };
}
