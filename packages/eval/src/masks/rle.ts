import { checkFields } from '@slimsam/weights';
import { compressCounts, decompressCounts } from './rle-string.ts';

/** [height, width] in pixels. */
export type MaskSize = readonly [height: number, width: number];

/**
 * A mask as COCO run lengths: column by column from the top left, alternately pixels outside and inside; the first run is outside and
 * may be 0.
 */
export interface Rle {
  readonly size: MaskSize;
  readonly counts: Uint32Array;
}

/** The same with the runs as pycocotools' string. */
export interface CompressedRle {
  readonly size: MaskSize;
  readonly counts: string;
}

/** Either form, and the runs as an array of numbers, as COCO's files have them for crowds. */
export interface AnyRle {
  readonly size: MaskSize;
  readonly counts: string | ArrayLike<number>;
}

let scratch = new Uint32Array(1 << 10);

/**
 * Run lengths of a mask.
 *
 * @param mask [height * width], row by row, not 0 inside
 * @throws when the mask's length is not height * width
 */
export function encodeRle(mask: Uint8Array, size: { readonly width: number; readonly height: number }): Rle {
  checkFields('encodeRle', { mask }, { mask: 'list' });
  checkFields('encodeRle', size, { width: 'number', height: 'number' });
  const { width, height } = size;
  if (mask.length !== width * height) {
    throw new Error(`encodeRle: expected ${height} x ${width} = ${width * height} pixels, got ${mask.length}`);
  }
  let runs = scratch;
  let length = 0;
  let inside = false;
  let start = 0; // of the run, in column order
  for (let x = 0, from = 0; x < width; x++, from += height) {
    if (length + height + 1 > runs.length) {
      runs = new Uint32Array(2 * (length + height + 1));
      runs.set(scratch);
      scratch = runs;
    }
    for (let y = 0, at = x; y < height; y++, at += width) {
      if ((mask[at] !== 0) === inside) continue;
      runs[length++] = from + y - start;
      start = from + y;
      inside = !inside;
    }
  }
  runs[length++] = mask.length - start;
  return { size: [height, width], counts: runs.slice(0, length) };
}

/**
 * The mask of run lengths: [height * width], row by row, 1 inside.
 *
 * @throws when the runs do not add up to the size, or the string is not a compressed RLE
 */
export function decodeRle(rle: AnyRle): Uint8Array {
  const { size, counts } = decompressRle(rle);
  const [height, width] = size;
  if (height * width > mostPixels)
    throw new Error(`decodeRle: expected a mask of at most ${mostPixels} pixels, got ${height} x ${width}`);
  const mask = new Uint8Array(height * width);
  let x = 0;
  let y = 0;
  for (let index = 0; index < counts.length; index++) {
    let rest = counts[index]!;
    if (index % 2 === 1) {
      for (; rest > 0; ) {
        const end = Math.min(height, y + rest);
        for (let at = y * width + x, last = end * width + x; at < last; at += width) mask[at] = 1;
        rest -= end - y;
        y = end;
        if (y === height) {
          y = 0;
          x++;
        }
      }
    } else if (rest > 0) {
      y += rest;
      x += Math.floor(y / height);
      y %= height;
    }
  }
  return mask;
}

/** The runs as pycocotools' string. */
export function compressRle(rle: AnyRle): CompressedRle {
  checkFields('compressRle', rle, { size: 'list' });
  const { size, counts } = rle;
  return { size, counts: typeof counts === 'string' ? counts : compressCounts(Uint32Array.from(counts)) };
}

/**
 * The string's runs; runs that are numbers already are only checked.
 *
 * @throws when the runs do not add up to the size, or the string is not a compressed RLE
 */
export function decompressRle(rle: AnyRle): Rle {
  checkSize(rle);
  const { size, counts } = rle;
  const runs = typeof counts === 'string' ? decompressCounts(counts) : wholeRuns(counts);
  const [height, width] = size;
  let total = 0;
  for (let i = 0; i < runs.length; i++) total += runs[i]!;
  if (total !== height * width) {
    throw new Error(
      `decompressRle: expected runs that add up to ${height} x ${width} = ${height * width}, got ${total}`,
    );
  }
  return { size, counts: runs };
}

/** Pixels of the largest mask that is decoded; `decodeImage` takes no larger image. A few letters can claim any size. */
const mostPixels = 2 ** 28;
/** Pixels of the largest mask as runs. */
const longestRuns = 2 ** 32 - 1;

function checkSize(rle: AnyRle): void {
  const size: unknown = typeof rle === 'object' && rle !== null ? rle.size : undefined;
  const fits =
    Array.isArray(size) &&
    size.length === 2 &&
    size.every((side) => Number.isSafeInteger(side) && side >= 0) &&
    size[0] * size[1] <= longestRuns;
  if (fits) return;
  const got = size === undefined ? 'none' : String(JSON.stringify(size)).slice(0, 60);
  throw new Error(`decompressRle: expected a size [height, width] of at most ${longestRuns} pixels, got ${got}`);
}

function wholeRuns(counts: ArrayLike<number>): Uint32Array {
  if (counts instanceof Uint32Array) return counts;
  if (typeof counts !== 'object' || counts === null || !Number.isSafeInteger(counts.length))
    throw new Error(
      `decompressRle: expected runs as a string or a list, got ${counts === undefined ? 'none' : typeof counts}`,
    );
  const runs = new Uint32Array(counts.length);
  for (let i = 0; i < counts.length; i++) {
    const run = counts[i]!;
    runs[i] = run;
    if (runs[i] !== run) {
      const got = typeof run === 'number' ? run : String(JSON.stringify(run)).slice(0, 60);
      throw new Error(`decompressRle: expected runs that are whole and at least 0, got ${got}`);
    }
  }
  return runs;
}

/** Pixels inside. @throws as decompressRle */
export function rleArea(rle: AnyRle): number {
  return runsArea(decompressRle(rle).counts);
}

/** The same of runs that are known to be well. */
export function runsArea(counts: Uint32Array): number {
  let area = 0;
  for (let i = 1; i < counts.length; i += 2) area += counts[i]!;
  return area;
}

/** The smallest box around the pixels inside: [x, y, width, height]; all 0 for an empty mask. @throws as decompressRle */
export function rleBox(rle: AnyRle): [number, number, number, number] {
  const box = new Float64Array(4);
  writeBox(decompressRle(rle), { boxes: box, at: 0 });
  return [box[0]!, box[1]!, box[2]!, box[3]!];
}

/** The box of checked runs, into `boxes`. */
export function writeBox(
  { size: [height, width], counts }: Rle,
  { boxes, at }: { readonly boxes: Float64Array; readonly at: number },
): void {
  let [left, top, right, bottom] = [width, height, -1, -1];
  let end = 0;
  for (let i = 1; i < counts.length; i += 2) {
    const start = end + counts[i - 1]!;
    end = start + counts[i]!;
    if (end === start) continue;
    let y0 = start % height;
    let y1 = (end - 1) % height;
    const x0 = (start - y0) / height;
    const x1 = (end - 1 - y1) / height;
    if (x0 < x1) [y0, y1] = [0, height - 1];
    if (x0 < left) left = x0;
    if (x1 > right) right = x1;
    if (y0 < top) top = y0;
    if (y1 > bottom) bottom = y1;
  }
  if (right < 0) [left, top, right, bottom] = [0, 0, -1, -1];
  boxes[at] = left;
  boxes[at + 1] = top;
  boxes[at + 2] = right - left + 1;
  boxes[at + 3] = bottom - top + 1;
}
