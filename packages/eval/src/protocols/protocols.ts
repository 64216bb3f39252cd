import { checkFields } from '@slimsam/weights';
import type { Box, Detections } from '../coco/instances.ts';
import type { EvalAnnotation, EvalImage } from '../data/eval-image.ts';
import { countEdges, type EdgeCounts } from '../edges/edge-scores.ts';
import { findEdges } from '../edges/find-edges.ts';
import { boundaryIou } from '../masks/boundary.ts';
import { furthestPoint } from '../masks/furthest-point.ts';
import { compressRle, decodeRle, encodeRle, type MaskSize } from '../masks/rle.ts';
import { rleIou } from '../masks/rle-operations.ts';
import type { ResultRecord } from './records.ts';
import type { ImageToSegment, Prompt, Segment, Segmented } from './segment.ts';

/** A box of a detector's results file. */
export interface BoxToSegment {
  readonly categoryId: number;
  readonly box: Box;
  readonly score: number;
}

/** A detector's boxes (`readDetections`) by image, for the protocol instances. */
export function boxesByImage(found: Detections): Map<number, BoxToSegment[]> {
  checkFields('boxesByImage', found, { detections: 'list' });
  const { detections } = found;
  const images = new Map<number, BoxToSegment[]>();
  for (const { imageId, categoryId, box, score } of detections) {
    const list = images.get(imageId) ?? [];
    list.push({ categoryId, box, score });
    images.set(imageId, list);
  }
  return images;
}

/**
 * A protocol:
 * - points: the annotation's own point (SA-1B's `point_coords`; else the point furthest from its border), one mask. The paper's mIoU.
 * - clicks: `clicks` points, one after another, each in the middle of the larger error of the mask before.
 * - boxes: the annotation's box, one mask.
 * - best-of-three: the point as in points, several masks: the one of the highest score, and the best that an oracle would choose.
 * - edges: BSDS500's boundaries from masks of everything, see `findEdges`.
 * - instances: COCO or LVIS instance segmentation from boxes: a detector's (their score and class stay), or the annotations' own with
 *   the model's score.
 */
export type Protocol =
  | { readonly name: 'points' | 'boxes' | 'best-of-three' | 'edges' }
  | { readonly name: 'clicks'; readonly clicks: number }
  | {
      readonly name: 'instances';
      readonly rules: 'coco' | 'lvis';
      /** A detector's boxes by the image's id; the annotations' own unless given. */
      readonly boxes?: ReadonlyMap<number, readonly BoxToSegment[]>;
    };

/** An image's objects with pixels, and the prompts that were made of them. */
export interface Answered {
  readonly prompts: readonly Prompt[];
  readonly results: readonly ResultRecord[];
  readonly edges?: EdgeCounts;
}

/** Runs a protocol on one image. @param annotations those that prompts are made of: no crowds, at least one pixel each */
export async function runOnImage(
  protocol: Protocol,
  image: ImageToSegment,
  {
    annotations,
    boundaries,
    segment,
  }: { annotations: readonly EvalAnnotation[]; boundaries?: EvalImage['boundaries']; segment: Segment },
): Promise<Answered> {
  const size: MaskSize = [image.height, image.width];
  if (protocol.name === 'edges') {
    if (!boundaries)
      throw new Error(`edges: '${image.name}': expected boundaries, got none; read the images by readEdgeImages`);
    const { prompts, edges } = await findEdges(image, segment);
    return { prompts, results: [], edges: countEdges(edges, boundaries, { size }) };
  }
  if (protocol.name === 'clicks') return clickThrough(protocol.clicks, image, { annotations, segment });
  if (protocol.name === 'instances' && protocol.boxes) {
    const boxes = protocol.boxes.get(image.id) ?? [];
    const prompts = boxes.map(({ box }) => ({ box, multimask: false }));
    const answers = await segment(image, prompts);
    const results = answers.map(({ masks }, i) => {
      const { categoryId, score } = boxes[i]!;
      return { category_id: categoryId, score, segmentation: compressRle(encodeRle(masks[0]!, image)) };
    });
    return { prompts, results };
  }
  const multimask = protocol.name === 'best-of-three';
  const boxed = protocol.name === 'boxes' || protocol.name === 'instances';
  const prompts = annotations.map((annotation): Prompt => {
    if (boxed) return { box: annotation.bbox, multimask };
    return { points: [annotation.pointCoords?.[0] ?? middleOf(annotation, size)], labels: [1], multimask };
  });
  const answers = await segment(image, prompts);
  return { prompts, results: annotations.map((annotation, i) => compared(annotation, answers[i]!, image)) };
}

/** The point of the annotation that is furthest from its border. */
function middleOf({ id, segmentation }: EvalAnnotation, size: MaskSize): readonly [number, number] {
  const found = furthestPoint(decodeRle(segmentation), size);
  if (!found) throw new Error(`annotation ${id}: expected pixels inside, got none`);
  return found.point;
}

/** The mask of the highest score, measured against the annotation. */
function compared(annotation: EvalAnnotation, { masks, scores }: Segmented, image: ImageToSegment): ResultRecord {
  const chosen = scores.indexOf(Math.max(...scores));
  const rles = masks.map((mask) => encodeRle(mask, image));
  const ious = rles.map((rle) => rleIou(rle, annotation.segmentation));
  return {
    annotation_id: annotation.id,
    category_id: annotation.categoryId ?? 1,
    score: scores[chosen]!,
    segmentation: compressRle(rles[chosen]!),
    iou: ious[chosen]!,
    boundary_iou: boundaryIou(rles[chosen]!, annotation.segmentation),
    ...(masks.length > 1 && { best_iou: Math.max(...ious) }),
  };
}

/** What is known of an object while it is clicked. */
interface Clicked {
  readonly annotation: EvalAnnotation;
  readonly truth: Uint8Array;
  readonly points: (readonly [number, number])[];
  readonly labels: (0 | 1)[];
  readonly ious: number[];
  answer: Segmented | undefined;
}

/**
 * `clicks` points for each object, all objects of the image together. The next point is the one furthest from the border of what is
 * missing or of what is too much, whichever is further; from nothing, that is the middle of the object. A perfect mask needs no more.
 */
async function clickThrough(
  clicks: number,
  image: ImageToSegment,
  { annotations, segment }: { annotations: readonly EvalAnnotation[]; segment: Segment },
): Promise<Answered> {
  if (!Number.isInteger(clicks) || clicks < 1)
    throw new Error(`clicks: expected a whole number of at least 1, got ${clicks}`);
  const objects = annotations.map(
    (annotation): Clicked => ({
      annotation,
      truth: decodeRle(annotation.segmentation),
      points: [],
      labels: [],
      ious: [],
      answer: undefined,
    }),
  );
  const size: MaskSize = [image.height, image.width];
  for (let click = 1; click <= clicks; click++) {
    const open = objects.filter((object) => addClick(object, size));
    const answers = await segment(image, open.map(promptOf));
    open.forEach((object, i) => {
      object.answer = answers[i]!;
    });
    for (const object of objects) {
      object.ious.push(rleIou(encodeRle(object.answer!.masks[0]!, image), object.annotation.segmentation));
    }
  }
  return {
    prompts: objects.map(({ points, labels }) => ({ points, labels, multimask: false })),
    results: objects.map(({ annotation, answer, ious }) => ({
      ...compared(annotation, answer!, image),
      click_ious: ious,
    })),
  };
}

function promptOf({ points, labels, answer }: Clicked): Prompt {
  return { points: [...points], labels: [...labels], multimask: false, ...(answer && { previous: answer }) };
}

/** Adds the next point, if anything is wrong. */
function addClick({ truth, answer, points, labels }: Clicked, size: MaskSize): boolean {
  const mask = answer?.masks[0];
  const missing = furthestPoint(mask ? truth.map((inside, at) => (inside && !mask[at] ? 1 : 0)) : truth, size);
  const surplus =
    mask &&
    furthestPoint(
      mask.map((inside, at) => (inside && !truth[at] ? 1 : 0)),
      size,
    );
  const [a, b] = [missing?.squaredDistance ?? 0, surplus?.squaredDistance ?? 0];
  const next = a >= b ? missing : surplus;
  if (!next) return false;
  points.push(next.point);
  labels.push(next === missing ? 1 : 0);
  return true;
}
