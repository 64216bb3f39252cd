import { checkFields } from '@slimsam/weights';
import type { AnyRle, MaskSize, Rle } from './rle.ts';
import { decompressRle } from './rle.ts';
import { mergeRles } from './rle-operations.ts';

/** A mask as COCO's files have it: polygons [x, y, x, y, …] in pixels, or run lengths. */
export type Segmentation = readonly (readonly number[])[] | AnyRle;

/** Points are set on a grid five times as fine as the pixels. */
const scale = 5;
/** Points of a polygon's border on that grid: 2^26 take half a gigabyte. */
const mostPoints = 2 ** 26;

/** C's conversion of a double to an int. */
const whole = (value: number) => (Number.isNaN(value) ? -0x8000_0000 : Math.trunc(value) | 0);

/**
 * The mask of one polygon by pycocotools' rule: its border on a grid five times as fine, in whole steps of the longer axis; a pixel's
 * column starts or ends inside where the border crosses its middle. Fewer than three points are let pass, as there; the last of an odd
 * number of coordinates is left out.
 *
 * @param polygon [x, y, x, y, …], pixels
 * @throws when a coordinate is not finite, or the border has more than 2^26 points of the grid
 */
export function polygonRle(polygon: readonly number[], size: MaskSize): Rle {
  checkFields('polygonRle', { polygon, size }, { polygon: 'list', size: 'list' });
  const [height, width] = size;
  const corners = Math.floor(polygon.length / 2);
  const xs = new Int32Array(corners + 1);
  const ys = new Int32Array(corners + 1);
  for (let i = 0; i < corners; i++) {
    const [x, y] = [polygon[2 * i]!, polygon[2 * i + 1]!];
    if (!(Math.abs(x) < 1e8 && Math.abs(y) < 1e8)) {
      throw new Error(`polygonRle: expected coordinates within 1e8 pixels, got [${x}, ${y}] as corner ${i}`);
    }
    xs[i] = whole(scale * x + 0.5);
    ys[i] = whole(scale * y + 0.5);
  }
  if (corners > 0) {
    xs[corners] = xs[0]!;
    ys[corners] = ys[0]!;
  }
  const { columns, rows, length } = border(xs, ys);
  const crossings = new Uint32Array(length + 1);
  let count = 0;
  for (let i = 1; i < length; i++) {
    const [u, before] = [columns[i]!, columns[i - 1]!];
    if (u === before) continue;
    const x = ((u < before ? u : u - 1) + 0.5) / scale - 0.5;
    if (Math.floor(x) !== x || x < 0 || x > width - 1) continue;
    const y = (Math.min(rows[i]!, rows[i - 1]!) + 0.5) / scale - 0.5;
    crossings[count++] = x * height + Math.ceil(Math.min(height, Math.max(0, y)));
  }
  crossings[count++] = height * width;
  return { size: [height, width], counts: runsBetween(crossings.subarray(0, count).sort()) };
}

/** All points of the fine grid along the border. */
function border(xs: Int32Array, ys: Int32Array): { columns: Int32Array; rows: Int32Array; length: number } {
  const corners = xs.length - 1;
  let points = 0;
  for (let i = 0; i < corners; i++) {
    points += Math.max(Math.abs(xs[i]! - xs[i + 1]!), Math.abs(ys[i]! - ys[i + 1]!)) + 1;
  }
  if (points > mostPoints) {
    throw new Error(
      `polygonRle: expected a border of at most ${mostPoints} points, got ${points}; its corners lie far off`,
    );
  }
  const columns = new Int32Array(points);
  const rows = new Int32Array(points);
  let length = 0;
  for (let i = 0; i < corners; i++) {
    let [fromX, toX, fromY, toY] = [xs[i]!, xs[i + 1]!, ys[i]!, ys[i + 1]!];
    const [dx, dy] = [Math.abs(toX - fromX), Math.abs(toY - fromY)];
    const flip = dx >= dy ? fromX > toX : fromY > toY;
    if (flip) [fromX, toX, fromY, toY] = [toX, fromX, toY, fromY];
    const steps = Math.max(dx, dy);
    const slope = dx >= dy ? (toY - fromY) / dx : (toX - fromX) / dy;
    for (let d = 0; d <= steps; d++, length++) {
      const t = flip ? steps - d : d;
      columns[length] = dx >= dy ? t + fromX : whole(fromX + slope * t + 0.5);
      rows[length] = dx >= dy ? whole(fromY + slope * t + 0.5) : t + fromY;
    }
  }
  return { columns, rows, length };
}

/** Differences of sorted crossings; those of 0 join the runs around them. */
function runsBetween(crossings: Uint32Array): Uint32Array {
  const runs = new Uint32Array(crossings.length);
  let length = 0;
  let before = 0;
  for (let i = 0; i < crossings.length; i++) {
    const run = crossings[i]! - before;
    before = crossings[i]!;
    if (run > 0 || i === 0) runs[length++] = run;
    else if (++i < crossings.length) {
      runs[length - 1]! += crossings[i]! - before;
      before = crossings[i]!;
    }
  }
  return runs.slice(0, length);
}

/** The mask of a box [x, y, width, height], as a polygon of four corners. @throws as polygonRle */
export function boxRle(box: readonly number[], size: MaskSize): Rle {
  checkFields('boxRle', { box, size }, { box: 'list', size: 'list' });
  const [x, y, width, height] = box as readonly [number, number, number, number];
  const [right, bottom] = [x + width, y + height];
  return polygonRle([x, y, x, bottom, right, bottom, right, y], size);
}

/**
 * The mask of a COCO annotation in an image of this size: its polygons united, or its runs.
 *
 * @throws when there is no polygon, the first has fewer than three corners (pycocotools refuses it too), a coordinate is not finite, or
 * the runs are of another size
 */
export function segmentationRle(segmentation: Segmentation, size: MaskSize): Rle {
  checkFields('segmentationRle', { segmentation, size }, { segmentation: 'object', size: 'list' });
  if (!('counts' in segmentation)) {
    const first = segmentation[0];
    if (!first || first.length <= 4) {
      const got = first ? `${first.length} in the first` : 'no polygon';
      throw new Error(`segmentationRle: expected polygons of at least 6 coordinates, got ${got}`);
    }
    return mergeRles(segmentation.map((polygon) => polygonRle(polygon, size)));
  }
  const [height, width] = segmentation.size;
  if (height !== size[0] || width !== size[1]) {
    throw new Error(`segmentationRle: expected a size of [${size.join(', ')}], got [${height}, ${width}]`);
  }
  return decompressRle(segmentation);
}
