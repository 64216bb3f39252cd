import { checkFields } from '@slimsam/weights';
import { type AnyRle, decompressRle, type MaskSize, type Rle, writeBox } from './rle.ts';
import { rleIou } from './rle-operations.ts';

/**
 * The band of a mask along its border: its pixels that are within d pixels (in the larger of dx and dy) of a pixel outside, what is beyond
 * the image counting as outside. d = round(ratio * diagonal of the image), at least 1; a half is rounded to the even number.
 * Boundary IoU (Cheng et al. 2021), `mask_to_boundary` of boundary-iou-api.
 *
 * @throws as decompressRle; when the ratio is not above 0
 */
export function rleBoundary(rle: AnyRle, options: { readonly ratio?: number } = {}): Rle {
  checkFields('rleBoundary', { rle, options }, { rle: 'object', options: 'object?' });
  const { ratio = 0.02 } = options;
  if (!(ratio > 0)) throw new Error(`rleBoundary: expected a ratio above 0, got ${ratio}`);
  return { size: rle.size, counts: boundaryRuns(decompressRle(rle), ratio) };
}

/** IoU of the two masks' bands; 1 when both are empty. @throws when the sizes differ */
export function boundaryIou(a: AnyRle, b: AnyRle, options: { readonly ratio?: number } = {}): number {
  checkFields('boundaryIou', { a, b, options }, { a: 'object', b: 'object', options: 'object?' });
  return rleIou(rleBoundary(a, options), rleBoundary(b, options));
}

/** The band of checked runs. */
export function boundaryRuns({ size, counts }: Rle, ratio = 0.02): Uint32Array {
  return band({ size, counts: joined(counts) }, bandWidth(size, ratio));
}

function bandWidth([height, width]: MaskSize, ratio: number): number {
  const exact = ratio * Math.sqrt(height ** 2 + width ** 2);
  const floor = Math.floor(exact);
  const rounded = exact - floor === 0.5 ? floor + (floor % 2) : Math.round(exact);
  return Math.max(1, rounded);
}

/** Without runs of 0 pixels after the first: their neighbours are one run. */
function joined(counts: Uint32Array): Uint32Array {
  if (counts.indexOf(0, 1) === -1) return counts;
  const runs = [0];
  let inside = 0;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] === 0) continue;
    if (i % 2 === inside) runs[runs.length - 1]! += counts[i]!;
    else runs.push(counts[i]!);
    inside = i % 2;
  }
  return Uint32Array.from(runs);
}

/** Within the mask's box: runs shrunk by d at both ends, then stretches of 2 d + 1 columns in which a row is left. */
function band(rle: Rle, d: number): Uint32Array {
  const box = new Float64Array(4);
  writeBox(rle, { boxes: box, at: 0 });
  const [left, top, columns, rows] = [box[0]!, box[1]!, box[2]!, box[3]!];
  if (columns === 0 || rows === 0) return rle.counts.slice();
  const height = rle.size[0];
  const inside = new Uint8Array(columns * rows); // column by column: 1 inside
  const shrunk = new Uint8Array(columns * rows);
  let start = 0;
  for (let i = 0; i < rle.counts.length; i++) {
    let from = start;
    start += rle.counts[i]!;
    if (i % 2 === 0) continue;
    for (; from < start; ) {
      const x = Math.floor(from / height);
      const end = Math.min(start, (x + 1) * height);
      const column = (x - left) * rows - top - x * height;
      inside.fill(1, column + from, column + end);
      if (from + d < end - d) shrunk.fill(1, column + from + d, column + end - d);
      from = end;
    }
  }
  const inRow = new Uint32Array(rows); // consecutive columns up to this one
  for (let x = 0; x < columns; x++) {
    for (let y = 0, at = x * rows; y < rows; y++, at++) {
      inRow[y] = shrunk[at] ? inRow[y]! + 1 : 0;
      if (inRow[y]! > 2 * d) inside[at - d * rows] = 0;
    }
  }
  return placedRuns(inside, { left, top, columns, rows }, rle.size);
}

/** Run lengths of a mask that is given within a box, column by column. */
function placedRuns(
  mask: Uint8Array,
  { left, top, columns, rows }: { left: number; top: number; columns: number; rows: number },
  [height, width]: MaskSize,
): Uint32Array {
  const runs: number[] = [];
  let inside = 0;
  let start = 0;
  const turn = (at: number) => {
    runs.push(at - start);
    start = at;
    inside ^= 1;
  };
  for (let x = 0, at = 0; x < columns; x++) {
    const from = (left + x) * height + top;
    if (inside && top > 0) turn(from - top);
    for (let y = 0; y < rows; y++, at++) if (mask[at] !== inside) turn(from + y);
    if (inside && top + rows < height) turn(from + rows);
  }
  const end = (left + columns) * height;
  if (inside && end < height * width) turn(end);
  runs.push(height * width - start);
  return Uint32Array.from(runs);
}
