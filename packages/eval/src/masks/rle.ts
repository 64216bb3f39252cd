import { compressCounts, decompressCounts } from './rle-string.ts';

/**
 * A mask as COCO run lengths: column by column from the top left, alternately pixels outside and inside; the first run is outside and
 * may be 0.
 */
export interface Rle {
  /** [height, width] */
  readonly size: readonly [number, number];
  readonly counts: readonly number[];
}

/** The same with the runs as pycocotools' string. */
export interface CompressedRle {
  readonly size: readonly [number, number];
  readonly counts: string;
}

/** Either form. */
type AnyRle = { readonly size: Rle['size']; readonly counts: Rle['counts'] | CompressedRle['counts'] };

/**
 * Run lengths of a mask.
 *
 * @param mask [height * width], row by row, not 0 inside
 * @throws when the mask's length is not height * width
 */
export function encodeRle(mask: Uint8Array, { width, height }: { width: number; height: number }): Rle {
  if (mask.length !== width * height) {
    throw new Error(`encodeRle: expected ${height} x ${width} = ${width * height} pixels, got ${mask.length}`);
  }
  const counts: number[] = [];
  let inside = false;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let at = x; at < mask.length; at += width) {
      if ((mask[at] !== 0) !== inside) {
        counts.push(run);
        run = 0;
        inside = !inside;
      }
      run++;
    }
  }
  counts.push(run);
  return { size: [height, width], counts };
}

/**
 * The mask of run lengths: [height * width], row by row, 1 inside.
 *
 * @throws when the runs do not add up to the size, or the string is not a compressed RLE
 */
export function decodeRle(rle: AnyRle): Uint8Array {
  const { size, counts } = decompressRle(rle);
  const [height, width] = size;
  const mask = new Uint8Array(height * width);
  let at = 0;
  counts.forEach((run, index) => {
    const end = at + run;
    if (index % 2 === 0) at = end;
    for (; at < end; at++) mask[(at % height) * width + Math.floor(at / height)] = 1;
  });
  return mask;
}

/** The runs as pycocotools' string. */
export function compressRle({ size, counts }: Rle): CompressedRle {
  return { size, counts: compressCounts(counts) };
}

/**
 * The string's runs; runs that are numbers already are only checked.
 *
 * @throws when the runs do not add up to the size, or the string is not a compressed RLE
 */
export function decompressRle(rle: AnyRle): Rle {
  const counts = typeof rle.counts === 'string' ? decompressCounts(rle.counts) : rle.counts;
  const [height, width] = rle.size;
  const total = counts.reduce((sum, run) => sum + run, 0);
  if (total !== height * width || !counts.every((run) => Number.isInteger(run) && run >= 0)) {
    throw new Error(
      `decompressRle: expected runs that add up to ${height} x ${width} = ${height * width}, got ${total}`,
    );
  }
  return { size: rle.size, counts };
}

/** Pixels inside. */
export function rleArea(rle: AnyRle): number {
  return decompressRle(rle).counts.reduce((sum, run, index) => (index % 2 === 1 ? sum + run : sum), 0);
}

/** The smallest box around the pixels inside: [x, y, width, height]; all 0 for an empty mask. */
export function rleBox(rle: AnyRle): [number, number, number, number] {
  const { size, counts } = decompressRle(rle);
  const [height, width] = size;
  let [x0, y0, x1, y1] = [width, height, -1, -1];
  let at = 0;
  counts.forEach((run, index) => {
    const last = at + run - 1;
    if (index % 2 === 1 && run > 0) {
      const [left, right] = [Math.floor(at / height), Math.floor(last / height)];
      x0 = Math.min(x0, left);
      x1 = Math.max(x1, right);
      y0 = Math.min(y0, left < right ? 0 : at % height);
      y1 = Math.max(y1, left < right ? height - 1 : last % height);
    }
    at += run;
  });
  return x1 < 0 ? [0, 0, 0, 0] : [x0, y0, x1 - x0 + 1, y1 - y0 + 1];
}
