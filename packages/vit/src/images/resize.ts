import { checkFields } from '@slimsam/weights';
import { cubic, type Filter, resamplingTaps, triangle } from './interpolation.ts';
import type { RgbImage } from './rgb-image.ts';

/** Pillow's fixed point: 32 bits less 8 for the pixel and 2 for overshoot. */
const precisionBits = 22;

/**
 * Bilinear, antialiased resizing, bit for bit as Pillow's `Image.resize(size, BILINEAR)`: a triangle filter as wide as the shrinking,
 * 22-bit fixed point weights, first along the rows, rounded to a byte, then along the columns (Pillow, src/libImaging/Resample.c).
 *
 * @throws when a size is not a positive whole number
 */
export function resizeBilinear(image: RgbImage, size: { width: number; height: number }): RgbImage {
  checkFields('resizeBilinear', image, { width: 'number', height: 'number', data: 'list' });
  checkFields('resizeBilinear', size, { width: 'number', height: 'number' });
  return resizeImage(image, size, { filter: 'bilinear' });
}

const filters: Readonly<Record<'bilinear' | 'bicubic', Filter>> = { bilinear: triangle, bicubic: cubic };

/** The same with one of Pillow's filters, BILINEAR or BICUBIC. @throws when a size is not a positive whole number */
export function resizeImage(
  image: RgbImage,
  size: { width: number; height: number },
  options: { filter: 'bilinear' | 'bicubic' },
): RgbImage {
  const { width, height } = size;
  if (!Number.isSafeInteger(width) || !Number.isSafeInteger(height) || width < 1 || height < 1) {
    throw new Error(`resizeImage: expected a width and height of at least 1 pixel, got ${width} x ${height}`);
  }
  const filter = filters[options.filter];
  const wide = width === image.width ? image : resizeRows(image, width, filter);
  return height === image.height ? wide : resizeColumns(wide, height, filter);
}

/** The size with a longest side of `side` pixels; the other side is rounded half up, as in segment-anything, and 1 at least. */
export function fitLongestSide(
  size: { readonly width: number; readonly height: number },
  side: number,
): { width: number; height: number } {
  checkFields('fitLongestSide', { side }, { side: 'number' });
  checkFields('fitLongestSide', size, { width: 'number', height: 'number' });
  const { width, height } = size;
  const scale = side / Math.max(width, height);
  const fit = (length: number): number => Math.max(1, Math.floor(length * scale + 0.5));
  return { width: fit(width), height: fit(height) };
}

/** Resizes an image to a longest side of `side` pixels. */
export function resizeLongestSide(image: RgbImage, side: number): RgbImage {
  checkFields('resizeLongestSide', { side }, { side: 'number' });
  checkFields('resizeLongestSide', image, { width: 'number', height: 'number' });
  return resizeBilinear(image, fitLongestSide(image, side));
}

/** Taps with fixed point weights. */
function fixedTaps(from: number, to: number, filter: Filter): { start: number; weights: Int32Array }[] {
  return resamplingTaps({ from, to }, { filter, antialias: true }).map(({ start, weights }) => ({
    start,
    weights: Int32Array.from(weights, (weight) => Math.sign(weight) * 0.5 + weight * 2 ** precisionBits),
  }));
}

function resizeRows({ width, height, data }: RgbImage, to: number, filter: Filter): RgbImage {
  const result = new Uint8Array(to * height * 3);
  const taps = fixedTaps(width, to, filter);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      const from = (y * width + taps[x]!.start) * 3;
      blend(taps[x]!.weights, { data, from, step: 3, result, to: (y * to + x) * 3 });
    }
  }
  return { width: to, height, data: result };
}

function resizeColumns({ width, height, data }: RgbImage, to: number, filter: Filter): RgbImage {
  const result = new Uint8Array(width * to * 3);
  fixedTaps(height, to, filter).forEach(({ start, weights }, y) => {
    for (let x = 0; x < width; x++) {
      blend(weights, { data, from: (start * width + x) * 3, step: width * 3, result, to: (y * width + x) * 3 });
    }
  });
  return { width, height: to, data: result };
}

/** Writes one RGB pixel: the weighted sum of pixels that lie `step` bytes apart, rounded half up. */
function blend(
  weights: Int32Array,
  { data, from, step, result, to }: { data: Uint8Array; from: number; step: number; result: Uint8Array; to: number },
): void {
  const half = 1 << (precisionBits - 1);
  let [red, green, blue] = [half, half, half];
  for (let k = 0, at = from; k < weights.length; k++, at += step) {
    const weight = weights[k]!;
    red += weight * data[at]!;
    green += weight * data[at + 1]!;
    blue += weight * data[at + 2]!;
  }
  result[to] = byte(red);
  result[to + 1] = byte(green);
  result[to + 2] = byte(blue);
}

/** A cubic's weights overshoot. */
function byte(sum: number): number {
  const value = sum >> precisionBits;
  return value < 0 ? 0 : Math.min(value, 255);
}
