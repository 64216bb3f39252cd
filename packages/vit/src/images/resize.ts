import type { RgbImage } from './image.ts';
import { resamplingTaps, triangle } from './interpolation.ts';

/** Pillow's fixed point: 32 bits less 8 for the pixel and 2 for overshoot. */
const precisionBits = 22;

/**
 * Bilinear, antialiased resizing, bit for bit as Pillow's `Image.resize(size, BILINEAR)`: a triangle filter as wide as the shrinking,
 * 22-bit fixed point weights, first along the rows, rounded to a byte, then along the columns (Pillow, src/libImaging/Resample.c).
 *
 * @throws when a size is not a positive whole number
 */
export function resizeBilinear(image: RgbImage, size: { width: number; height: number }): RgbImage {
  const { width, height } = size;
  if (!Number.isSafeInteger(width) || !Number.isSafeInteger(height) || width < 1 || height < 1) {
    throw new Error(`resizeBilinear: expected a width and height of at least 1 pixel, got ${width} x ${height}`);
  }
  const wide = width === image.width ? image : resizeRows(image, width);
  return height === image.height ? wide : resizeColumns(wide, height);
}

/** The size with a longest side of `side` pixels; the other side is rounded half up, as in segment-anything, and 1 at least. */
export function fitLongestSide(
  { width, height }: { readonly width: number; readonly height: number },
  side: number,
): { width: number; height: number } {
  const scale = side / Math.max(width, height);
  const fit = (length: number): number => Math.max(1, Math.floor(length * scale + 0.5));
  return { width: fit(width), height: fit(height) };
}

/** Resizes an image to a longest side of `side` pixels. */
export function resizeLongestSide(image: RgbImage, side: number): RgbImage {
  return resizeBilinear(image, fitLongestSide(image, side));
}

/** Taps with fixed point weights. */
function fixedTaps(from: number, to: number): { start: number; weights: Int32Array }[] {
  return resamplingTaps({ from, to }, { filter: triangle, antialias: true }).map(({ start, weights }) => ({
    start,
    weights: Int32Array.from(weights, (weight) => 0.5 + weight * 2 ** precisionBits),
  }));
}

function resizeRows({ width, height, data }: RgbImage, to: number): RgbImage {
  const result = new Uint8Array(to * height * 3);
  const taps = fixedTaps(width, to);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      const from = (y * width + taps[x]!.start) * 3;
      blend(taps[x]!.weights, { data, from, step: 3, result, to: (y * to + x) * 3 });
    }
  }
  return { width: to, height, data: result };
}

function resizeColumns({ width, height, data }: RgbImage, to: number): RgbImage {
  const result = new Uint8Array(width * to * 3);
  fixedTaps(height, to).forEach(({ start, weights }, y) => {
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
  result[to] = red >> precisionBits; // weights are never negative and sum to 1, so that this stays a byte
  result[to + 1] = green >> precisionBits;
  result[to + 2] = blue >> precisionBits;
}
