import { boxIous } from '../masks/rle-operations.ts';
import type { ImageToSegment, Prompt, Segment } from '../protocols/segment.ts';
import { edgeMap, type MaskEdge, maskEdge, suppressEdges } from './edge-map.ts';

/** Points on a side of the grid; prompts at once; IoU of boxes from which the less certain mask is a duplicate. */
const [side, atOnce, duplicate] = [16, 16, 0.7];

/** A mask's edge with what suppression needs of it. */
interface Candidate {
  readonly edge: MaskEdge;
  /** [x, y, width, height] of its pixels. */
  readonly box: readonly number[];
  readonly score: number;
}

/**
 * An edge map of an image from masks of everything, by SAM's protocol (section 7.2 and appendix D.2): 16 x 16 points with three masks each,
 * without duplicates by their boxes; the edges of the masks' probabilities; at each pixel the strongest; suppression across the edges.
 *
 * @returns the prompts, and the map in [0, 1]: [height * width]
 * @throws when the model gives no logits
 */
export async function findEdges(
  image: ImageToSegment,
  segment: Segment,
): Promise<{ prompts: readonly Prompt[]; edges: Float32Array }> {
  const { width, height } = image;
  const prompts = Array.from({ length: side * side }, (_, i): Prompt => {
    const [x, y] = [(i % side) + 0.5, Math.floor(i / side) + 0.5];
    return { points: [[(x / side) * width, (y / side) * height]], labels: [1], multimask: true, logits: true };
  });
  const candidates: Candidate[] = [];
  for (let at = 0; at < prompts.length; at += atOnce) {
    for (const { scores, logits } of await segment(image, prompts.slice(at, at + atOnce))) {
      logits!.forEach((mask, i) => {
        const box = boxOf(mask, width);
        if (box) candidates.push({ edge: maskEdge(mask, [height, width]), box, score: scores[i]! });
      });
    }
  }
  return { prompts, edges: suppressEdges(edgeMap(distinct(candidates), [height, width]), [height, width]) };
}

/** The box of what is above 0. */
function boxOf(logits: Float32Array, width: number): [number, number, number, number] | undefined {
  let [left, top, right, bottom] = [width, -1, -1, -1];
  for (let y = 0, at = 0; at < logits.length; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!(logits[at]! > 0)) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (top < 0) top = y;
      bottom = y;
    }
  }
  return right < 0 ? undefined : [left, top, right - left, bottom - top];
}

/** Greedy suppression: the best score first. */
function distinct(candidates: readonly Candidate[]): MaskEdge[] {
  const kept: Candidate[] = [];
  for (const candidate of [...candidates].sort((a, b) => b.score - a.score)) {
    const ious = boxIous(
      candidate.box,
      kept.flatMap(({ box }) => box),
    );
    if (!ious.some((iou) => iou > duplicate)) kept.push(candidate);
  }
  return kept.map(({ edge }) => edge);
}
