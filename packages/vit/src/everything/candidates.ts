import { type Box, maskBox, suppressBoxes } from './boxes.ts';
import { type PackedMask, packedArea, packMask, unpackMask } from './packed-mask.ts';
import { removeSmallRegions } from './regions.ts';

/** A mask that a point gave. */
export interface Candidate {
  readonly packed: PackedMask;
  /** Pixels. */
  readonly area: number;
  /** In pixels of the image, its last row and column included. */
  readonly box: Box;
  readonly predictedIou: number;
  readonly stabilityScore: number;
  /** In pixels of the image. */
  readonly point: readonly [number, number];
  readonly crop: Box;
}

/** Those that non-maximum suppression of their boxes leaves, best score first. */
export function distinct(
  candidates: readonly Candidate[],
  how: { scores: readonly number[]; threshold: number },
): Candidate[] {
  const boxes = candidates.map(({ box }) => box);
  return suppressBoxes(boxes, how).map((index) => candidates[index]!);
}

/**
 * Removes holes and islands of fewer than `minArea` pixels. Of masks whose boxes have become alike, one that needed no change stays
 * (segment-anything, automatic_mask_generator.py: postprocess_small_regions).
 */
export function withoutSmallRegions(
  candidates: readonly Candidate[],
  { size, minArea, threshold }: { size: { width: number; height: number }; minArea: number; threshold: number },
): Candidate[] {
  const { width, height } = size;
  const cleaned = candidates.map((candidate) => {
    const mask = unpackMask(candidate.packed, size);
    if (!removeSmallRegions(mask, { width, minArea })) return candidate;
    const packed = packMask(mask, [0, 0, width, height]);
    return { ...candidate, packed, area: packedArea(packed), box: maskBox(mask, width) };
  });
  const scores = cleaned.map((candidate, i) => (candidate === candidates[i] ? 1 : 0));
  return distinct(cleaned, { scores, threshold });
}
