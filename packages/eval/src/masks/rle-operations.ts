import { checkFields } from '@slimsam/weights';
import { type AnyRle, decompressRle, type Rle, runsArea, writeBox } from './rle.ts';

/**
 * The union of masks, or with `intersect` their intersection, on the runs. One mask is given back as it is.
 *
 * @throws when there is none, or the sizes differ
 */
export function mergeRles(rles: readonly AnyRle[], options: { readonly intersect?: boolean } = {}): Rle {
  checkFields('mergeRles', { rles, options }, { rles: 'list', options: 'object?' });
  const { intersect = false } = options;
  const [first, ...others] = rles.map(decompressRle);
  if (!first) throw new Error('mergeRles: expected at least one mask, got none');
  let merged = first.counts;
  for (const { size, counts } of others) {
    if (size[0] !== first.size[0] || size[1] !== first.size[1]) {
      throw new Error(`mergeRles: expected masks of one size, got [${first.size.join(', ')}] and [${size.join(', ')}]`);
    }
    merged = mergeRuns(merged, counts, intersect ? 2 : 1);
  }
  return { size: first.size, counts: merged };
}

/**
 * Cuts two masks at the ends of the runs of both. `visit` receives each stretch's length, in how many of the masks it lies, and in how
 * many the next one does, undefined after the last. Runs of 0 pixels are stretches too.
 */
function eachStretch(
  a: Uint32Array,
  b: Uint32Array,
  visit: (length: number, inside: number, next: number | undefined) => void,
): void {
  let [i, j] = [1, 1];
  let [restA, restB] = [a[0]!, b[0]!];
  let [insideA, insideB] = [0, 0];
  for (let rest = 1; rest > 0; ) {
    const step = Math.min(restA, restB);
    const inside = insideA + insideB;
    restA -= step;
    restB -= step;
    if (restA === 0 && i < a.length) {
      restA = a[i++]!;
      insideA ^= 1;
    }
    if (restB === 0 && j < b.length) {
      restB = b[j++]!;
      insideB ^= 1;
    }
    rest = restA + restB;
    visit(step, inside, rest > 0 ? insideA + insideB : undefined);
  }
}

/** Runs of the pixels that are in at least `least` of two masks. */
function mergeRuns(a: Uint32Array, b: Uint32Array, least: 1 | 2): Uint32Array {
  const merged = new Uint32Array(a.length + b.length + 1);
  let length = 0;
  let run = 0;
  eachStretch(a, b, (step, inside, next) => {
    run += step;
    if (next !== undefined && next >= least === inside >= least) return;
    merged[length++] = run;
    run = 0;
  });
  return merged.slice(0, length);
}

/** Pixels in both of two masks, and in at least one. */
function overlap(a: Uint32Array, b: Uint32Array, out: Float64Array): void {
  let [both, either] = [0, 0];
  eachStretch(a, b, (step, masks) => {
    if (masks > 0) either += step;
    if (masks === 2) both += step;
  });
  out[0] = both;
  out[1] = either;
}

/**
 * IoU of every detection with every annotation, on the runs. With a crowd the union is the detection alone, so that it measures how
 * much of the detection lies in the crowd. 0 where nothing overlaps, two empty masks included.
 *
 * @param options.crowds not 0 for annotations that are crowds; none unless given
 * @returns [detections * annotations], row by row
 * @throws when the sizes differ
 */
export function rleIous(
  detections: readonly AnyRle[],
  annotations: readonly AnyRle[],
  options: { readonly crowds?: ArrayLike<number> } = {},
): Float64Array {
  checkFields(
    'rleIous',
    { detections, annotations, options },
    { detections: 'list', annotations: 'list', options: 'object?' },
  );
  const { crowds } = options;
  return runIous(detections.map(decompressRle), annotations.map(decompressRle), crowds);
}

/** The same of checked runs. */
export function runIous(
  detections: readonly Rle[],
  annotations: readonly Rle[],
  crowds?: ArrayLike<number>,
): Float64Array {
  const ious = boxIous(boxesOf(detections), boxesOf(annotations), crowds ? { crowds } : {});
  const counts = new Float64Array(2);
  for (let d = 0, at = 0; d < detections.length; d++) {
    for (let a = 0; a < annotations.length; a++, at++) {
      if (!(ious[at]! > 0)) continue;
      const [one, other] = [detections[d]!, annotations[a]!];
      if (one.size[0] !== other.size[0] || one.size[1] !== other.size[1]) {
        throw new Error(
          `rleIous: expected masks of one size, got [${one.size.join(', ')}] and [${other.size.join(', ')}]`,
        );
      }
      overlap(one.counts, other.counts, counts);
      const both = counts[0]!;
      const union = both === 0 ? 1 : crowds?.[a] ? runsArea(one.counts) : counts[1]!;
      ious[at] = both / union;
    }
  }
  return ious;
}

function boxesOf(rles: readonly Rle[]): Float64Array {
  const boxes = new Float64Array(4 * rles.length);
  rles.forEach((rle, i) => {
    writeBox(rle, { boxes, at: 4 * i });
  });
  return boxes;
}

/**
 * IoU of every detection's box with every annotation's; crowds as in `rleIous`.
 *
 * @param detections [4 * D]: x, y, width, height of one after another
 * @param annotations [4 * A]
 * @returns [D * A], row by row
 */
export function boxIous(
  detections: ArrayLike<number>,
  annotations: ArrayLike<number>,
  options: { readonly crowds?: ArrayLike<number> } = {},
): Float64Array {
  checkFields(
    'boxIous',
    { detections, annotations, options },
    { detections: 'list', annotations: 'list', options: 'object?' },
  );
  const { crowds } = options;
  const [rows, columns] = [detections.length / 4, annotations.length / 4];
  const ious = new Float64Array(rows * columns);
  for (let a = 0; a < columns; a++) {
    const [x, y, width, height] = [0, 1, 2, 3].map((k) => annotations[4 * a + k]!) as [number, number, number, number];
    const crowd = crowds ? crowds[a]! !== 0 : false;
    for (let d = 0; d < rows; d++) {
      const at = 4 * d;
      const [dx, dy, dw, dh] = [detections[at]!, detections[at + 1]!, detections[at + 2]!, detections[at + 3]!];
      const across = Math.min(dw + dx, width + x) - Math.max(dx, x);
      if (across <= 0) continue;
      const down = Math.min(dh + dy, height + y) - Math.max(dy, y);
      if (down <= 0) continue;
      const both = across * down;
      ious[d * columns + a] = both / (crowd ? dw * dh : dw * dh + width * height - both);
    }
  }
  return ious;
}

/** IoU of two masks, on the runs; 1 when both are empty. @throws when the sizes differ */
export function rleIou(a: AnyRle, b: AnyRle): number {
  const [one, other] = [decompressRle(a), decompressRle(b)];
  if (one.size[0] !== other.size[0] || one.size[1] !== other.size[1]) {
    throw new Error(`rleIou: expected masks of one size, got [${one.size.join(', ')}] and [${other.size.join(', ')}]`);
  }
  const counts = new Float64Array(2);
  overlap(one.counts, other.counts, counts);
  return counts[1] === 0 ? 1 : counts[0]! / counts[1]!;
}
