import { boundaryRuns } from '../masks/boundary.ts';
import { type AnyRle, decompressRle, type Rle } from '../masks/rle.ts';
import { boxIous, runIous } from '../masks/rle-operations.ts';
import { emptyGrid, type Grid, precisionRecall } from './accumulate.ts';
import type { CocoDetection, CocoInstance } from './instances.ts';
import { match } from './match.ts';

/** How overlap is measured: of masks, of boxes, or the smaller of mask IoU and boundary IoU (Cheng et al. 2021; crowds by masks). */
export type OverlapType = 'segm' | 'bbox' | 'boundary';

/** An annotation or detection that takes part. */
export interface Candidates {
  /** In order: by image, within it by category where categories do not count, within that in the file's order. */
  readonly annotations: readonly CocoInstance[];
  readonly detections: readonly CocoDetection[];
}

export interface EvaluateSettings {
  readonly type: OverlapType;
  readonly thresholds: Float64Array;
  readonly recalls: Float64Array;
  /** [least, most] pixels of each range. */
  readonly ranges: readonly (readonly [number, number])[];
  /** Ascending. */
  readonly maxDetections: readonly number[];
  readonly ignored: (annotation: CocoInstance) => boolean;
  readonly crowd: (annotation: CocoInstance) => boolean;
  readonly unseen: (annotation: CocoInstance) => boolean;
  readonly forgiven: (detection: CocoDetection) => boolean;
  readonly signal?: AbortSignal;
}

/** Precision [T, R, K, A, M], recall [T, K, A, M] and the scores at the recall thresholds [T, R, K, A, M]. */
export interface Curves {
  readonly precision: Grid;
  readonly recall: Grid;
  readonly scores: Grid;
}

/** Evaluates each group (a category, or all together) by itself. */
export function curvesOf(groups: readonly Candidates[], settings: EvaluateSettings): Curves {
  const { thresholds, recalls, ranges, maxDetections } = settings;
  const [T, R, K, A, M] = [thresholds.length, recalls.length, groups.length, ranges.length, maxDetections.length];
  const curves = {
    precision: emptyGrid([T, R, K, A, M]),
    recall: emptyGrid([T, K, A, M]),
    scores: emptyGrid([T, R, K, A, M]),
  };
  groups.forEach((group, k) => {
    settings.signal?.throwIfAborted();
    const { counted, outcomes, order, ranks, scores } = matchGroup(group, settings);
    const N = order.length;
    for (let m = 0; m < M; m++) {
      const kept = order.filter((i) => ranks[i]! < maxDetections[m]!);
      const keptScores = Float64Array.from(kept, (i) => scores[i]!);
      for (let a = 0; a < A; a++) {
        const annotations = counted[a]!;
        if (annotations === 0) continue;
        const sorted = new Uint8Array(kept.length);
        for (let t = 0; t < T; t++) {
          const from = (a * T + t) * N;
          for (let i = 0; i < kept.length; i++) sorted[i] = outcomes[from + kept[i]!]!;
          const found = precisionRecall(sorted, keptScores, { annotations, recalls });
          curves.recall.data[((t * K + k) * A + a) * M + m] = found.recall;
          for (let r = 0; r < R; r++) {
            const at = (((t * R + r) * K + k) * A + a) * M + m;
            curves.precision.data[at] = found.precision[r]!;
            curves.scores.data[at] = found.scores[r]!;
          }
        }
      }
    }
  });
  return curves;
}

interface GroupMatches {
  /** [A]: annotations that count. */
  readonly counted: number[];
  /** [A, T, N] */
  readonly outcomes: Uint8Array;
  /** Of the detections, by falling score over all images. */
  readonly order: Uint32Array;
  /** [N]: the place within the image. */
  readonly ranks: Uint32Array;
  readonly scores: Float64Array;
}

function matchGroup({ annotations, detections }: Candidates, settings: EvaluateSettings): GroupMatches {
  const { thresholds, ranges, maxDetections } = settings;
  const most = maxDetections.at(-1)!;
  const [A, T] = [ranges.length, thresholds.length];
  const images = perImage(annotations, detections);
  const N = images.reduce((sum, image) => sum + Math.min(most, image.detections.length), 0);
  const outcomes = new Uint8Array(A * T * N);
  const ranks = new Uint32Array(N);
  const scores = new Float64Array(N);
  const counted = ranges.map(() => 0);
  let at = 0;
  for (const image of images) {
    const found = [...image.detections].sort((a, b) => b.score - a.score).slice(0, most);
    const D = found.length;
    const input = {
      ious: iousOf(found, image.annotations, settings),
      detectionAreas: Float64Array.from(found, ({ area }) => area),
      forgiven: Uint8Array.from(found, (detection) => Number(settings.forgiven(detection))),
      areas: Float64Array.from(image.annotations, ({ area }) => area),
      ignored: Uint8Array.from(image.annotations, (annotation) => Number(settings.ignored(annotation))),
      crowds: Uint8Array.from(image.annotations, (annotation) => Number(settings.crowd(annotation))),
      unseen: Uint8Array.from(image.annotations, (annotation) => Number(settings.unseen(annotation))),
    };
    const part = new Uint8Array(T * D);
    ranges.forEach((range, a) => {
      counted[a]! += match(input, { thresholds, range, outcomes: part });
      for (let t = 0; t < T; t++) outcomes.set(part.subarray(t * D, (t + 1) * D), (a * T + t) * N + at);
    });
    found.forEach(({ score }, rank) => {
      ranks[at + rank] = rank;
      scores[at + rank] = score;
    });
    at += D;
  }
  const order = Uint32Array.from({ length: N }, (_, i) => i).sort((a, b) => scores[b]! - scores[a]! || a - b);
  return { counted, outcomes, order, ranks, scores };
}

/** Parts two lists, both in the images' order, by image. */
function perImage(annotations: readonly CocoInstance[], detections: readonly CocoDetection[]): Candidates[] {
  const images = new Map<number, { annotations: CocoInstance[]; detections: CocoDetection[] }>();
  const of = (id: number) => {
    const known = images.get(id);
    if (known) return known;
    const image = { annotations: [], detections: [] };
    images.set(id, image);
    return image;
  };
  for (const annotation of annotations) of(annotation.imageId).annotations.push(annotation);
  for (const detection of detections) of(detection.imageId).detections.push(detection);
  return [...images].sort(([a], [b]) => a - b).map(([, image]) => image);
}

function iousOf(
  detections: readonly CocoDetection[],
  annotations: readonly CocoInstance[],
  { type, crowd }: EvaluateSettings,
): Float64Array {
  if (detections.length === 0 || annotations.length === 0) return new Float64Array(0);
  const crowds = Uint8Array.from(annotations, (annotation) => Number(crowd(annotation)));
  if (type === 'bbox') {
    return boxIous(
      detections.flatMap(({ box }) => box),
      annotations.flatMap(({ box }) => box),
      { crowds },
    );
  }
  const [found, truth] = [detections.map(runsOf), annotations.map(runsOf)];
  const ious = runIous(found, truth, crowds);
  if (type === 'boundary') {
    const bands = runIous(found.map(bandOf), truth.map(bandOf), crowds);
    for (let i = 0; i < ious.length; i++) {
      if (!crowds[i % annotations.length]) ious[i] = Math.min(ious[i]!, bands[i]!);
    }
  }
  return ious;
}

const bandOf = (rle: Rle): Rle => ({ size: rle.size, counts: boundaryRuns(rle) });

function runsOf({ segmentation }: { readonly segmentation?: AnyRle }): Rle {
  if (!segmentation)
    throw new Error('evaluate: expected masks, got annotations or detections that were read for boxes');
  return decompressRle(segmentation);
}
