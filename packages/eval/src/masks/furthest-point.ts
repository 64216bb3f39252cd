import { checkFields } from '@slimsam/weights';
import type { MaskSize } from './rle.ts';

/** The pixel of a mask that is furthest from what is outside of it. */
export interface FurthestPoint {
  readonly point: readonly [x: number, y: number];
  /** To the nearest pixel outside, squared; what is beyond the image is outside. */
  readonly squaredDistance: number;
}

/**
 * The pixel of a mask that is furthest from the pixels outside, by Euclid's distance; the first of equals row by row. Exact
 * (Felzenszwalb and Huttenlocher 2012, lower envelope of parabolas).
 *
 * @param mask [height * width], row by row, not 0 inside
 * @returns undefined for an empty mask
 */
export function furthestPoint(mask: Uint8Array, size: MaskSize): FurthestPoint | undefined {
  checkFields('furthestPoint', { mask, size }, { mask: 'list', size: 'list' });
  const [height, width] = size;
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!mask[at]) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  if (right < 0) return undefined;
  const [columns, rows] = [right - left + 1, bottom - top + 1];
  const down = new Float64Array(columns * rows); // to the nearest pixel outside in the same column, squared
  for (let x = 0; x < columns; x++) {
    for (let y = 0, run = 0; y < rows; y++) {
      run = mask[(y + top) * width + x + left] ? run + 1 : 0;
      down[y * columns + x] = run;
    }
    for (let y = rows - 1, run = 0; y >= 0; y--) {
      const at = y * columns + x;
      run = down[at] ? run + 1 : 0;
      down[at] = Math.min(down[at]!, run) ** 2;
    }
  }
  let best = 0;
  let point: [number, number] = [left, top];
  const row = new Float64Array(columns + 2); // a pixel outside at either end
  for (let y = 0; y < rows; y++) {
    row.set(down.subarray(y * columns, (y + 1) * columns), 1);
    const distances = rowDistances(row);
    for (let x = 0; x < columns; x++) {
      if (distances[x + 1]! <= best) continue;
      best = distances[x + 1]!;
      point = [x + left, y + top];
    }
  }
  return { point, squaredDistance: best };
}

/** For each q the least of (q - p)^2 + heights[p]. */
function rowDistances(heights: Float64Array): Float64Array {
  const N = heights.length;
  const roots = new Int32Array(N);
  const starts = new Float64Array(N + 1);
  let last = 0;
  starts[0] = Number.NEGATIVE_INFINITY;
  starts[1] = Number.POSITIVE_INFINITY;
  for (let q = 1; q < N; q++) {
    let crossing = 0;
    for (;;) {
      const p = roots[last]!;
      crossing = (heights[q]! + q * q - heights[p]! - p * p) / (2 * (q - p));
      if (crossing > starts[last]!) break;
      last--;
    }
    roots[++last] = q;
    starts[last] = crossing;
    starts[last + 1] = Number.POSITIVE_INFINITY;
  }
  const distances = new Float64Array(N);
  for (let q = 0, k = 0; q < N; q++) {
    while (starts[k + 1]! < q) k++;
    const p = roots[k]!;
    distances[q] = (q - p) ** 2 + heights[p]!;
  }
  return distances;
}
