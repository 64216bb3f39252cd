/** Arrays of one image and category (or of all categories): detections by falling score, annotations in the file's order. */
export interface MatchInput {
  /** [D * A], row by row; empty when D or A is 0 */
  readonly ious: Float64Array;
  /** [D], pixels */
  readonly detectionAreas: ArrayLike<number>;
  /** [D], 1: without a match it does not count (LVIS: the category is not annotated throughout). */
  readonly forgiven: Uint8Array;
  /** [A], pixels */
  readonly areas: ArrayLike<number>;
  /** [A], 1: neither a hit nor a miss. */
  readonly ignored: Uint8Array;
  /** [A], 1: may be matched more than once. */
  readonly crowds: Uint8Array;
  /** [A], 1: a match with it is not seen as one (pycocotools: annotations whose id is 0). */
  readonly unseen: Uint8Array;
}

/** A detection's outcome: bit 0, it is matched; bit 1, it does not count. */
export const hit = 1;
export const outside = 2;

/**
 * COCO's greedy matching for every threshold: each detection, by falling score, takes the annotation of the largest IoU at or above the
 * threshold that is free (the later of equals); ignored annotations only if no other is left.
 *
 * @param outcomes [T * D] of `hit` and `outside`, written
 * @returns annotations that are not ignored
 */
export function match(
  input: MatchInput,
  { thresholds, range, outcomes }: { thresholds: Float64Array; range: readonly [number, number]; outcomes: Uint8Array },
): number {
  const { ious, detectionAreas, areas, crowds } = input;
  const [D, A] = [detectionAreas.length, areas.length];
  const ignored = new Uint8Array(A);
  for (let a = 0; a < A; a++) {
    ignored[a] = input.ignored[a] || areas[a]! < range[0] || areas[a]! > range[1] ? 1 : 0;
  }
  const order = new Uint32Array(A); // ignored ones last
  let counted = 0;
  for (let a = 0; a < A; a++) if (!ignored[a]) order[counted++] = a;
  for (let a = 0, at = counted; a < A; a++) if (ignored[a]) order[at++] = a;
  const taken = new Uint8Array(A);
  for (let t = 0; t < thresholds.length; t++) {
    const least = Math.min(thresholds[t]!, 1 - 1e-10);
    taken.fill(0);
    for (let d = 0; d < D; d++) {
      let best = least;
      let found = -1;
      for (let k = 0; k < A; k++) {
        const a = order[k]!;
        if (taken[a] && !crowds[a]) continue;
        if (found >= 0 && k >= counted && !ignored[found]) break;
        const iou = ious[d * A + a]!;
        if (iou < best) continue;
        best = iou;
        found = a;
      }
      let outcome = 0;
      if (found >= 0) {
        taken[found] = 1;
        outcome = (input.unseen[found] ? 0 : hit) | (ignored[found] ? outside : 0);
      }
      const area = detectionAreas[d]!;
      if (!(outcome & hit) && (area < range[0] || area > range[1] || input.forgiven[d])) outcome |= outside;
      outcomes[t * D + d] = outcome;
    }
  }
  return counted;
}
