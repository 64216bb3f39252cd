import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { expect, test } from 'vitest';
import { boundaryIou, rleBoundary } from './boundary.ts';
import { maskIou } from './mask-iou.ts';
import { boxRle, polygonRle, segmentationRle } from './polygon.ts';
import { compressRle, decodeRle, decompressRle, encodeRle, type Rle, rleArea, rleBox } from './rle.ts';
import { boxIous, mergeRles, rleIou, rleIous } from './rle-operations.ts';

const generator = xoroshiro128plus(77);
/** A number in [low, high). */
const number = (low: number, high: number) => low + ((high - low) * (generator.next() >>> 0)) / 2 ** 32;
const whole = (low: number, high: number) => Math.floor(number(low, high + 1));

const [width, height] = [23, 19];
const randomMask = (): Uint8Array => {
  const density = number(0, 1);
  return Uint8Array.from({ length: width * height }, () => (number(0, 1) < density ? 1 : 0));
};
const rleOf = (mask: Uint8Array): Rle => encodeRle(mask, { width, height });

test('masks survive encoding, strings and back; area and box are those of the pixels', () => {
  for (let i = 0; i < 100; i++) {
    const mask = randomMask();
    const rle = rleOf(mask);
    expect(decodeRle(compressRle(rle))).toEqual(mask);
    expect(decompressRle(compressRle(rle))).toEqual(rle);
    expect(rleArea(rle)).toBe(mask.reduce((sum, inside) => sum + inside, 0));
    const inside = [...mask.keys()].filter((at) => mask[at]);
    const [xs, ys] = [inside.map((at) => at % width), inside.map((at) => Math.floor(at / width))];
    const [x, y] = [Math.min(...xs), Math.min(...ys)];
    const box = inside.length === 0 ? [0, 0, 0, 0] : [x, y, Math.max(...xs) - x + 1, Math.max(...ys) - y + 1];
    expect(rleBox(rle)).toEqual(box);
  }
});

test('merges are those of the pixels, and keep their identities', () => {
  for (let i = 0; i < 50; i++) {
    const [a, b, c] = [randomMask(), randomMask(), randomMask()];
    const [A, B, C] = [rleOf(a), rleOf(b), rleOf(c)];
    expect(decodeRle(mergeRles([A, B]))).toEqual(a.map((value, at) => value | b[at]!));
    expect(decodeRle(mergeRles([A, B], { intersect: true }))).toEqual(a.map((value, at) => value & b[at]!));
    expect(mergeRles([A, B])).toEqual(mergeRles([B, A]));
    expect(mergeRles([mergeRles([A, B]), C])).toEqual(mergeRles([A, B, C]));
    expect(mergeRles([A, A])).toEqual(A);
    expect(mergeRles([A, rleOf(new Uint8Array(width * height))])).toEqual(A);
    expect(mergeRles([A, B], { intersect: true })).toEqual(mergeRles([B, A], { intersect: true }));
  }
});

test('IoU on the runs is that of the pixels; it is symmetric but for crowds, whose union is the detection', () => {
  for (let i = 0; i < 50; i++) {
    const [a, b] = [randomMask(), randomMask()];
    const [A, B] = [rleOf(a), rleOf(b)];
    expect(rleIou(A, B)).toBe(maskIou(a, b));
    expect([...rleIous([A, B], [A, B])]).toEqual([
      rleIous([A], [A])[0],
      rleIous([A], [B])[0],
      rleIous([B], [A])[0],
      rleIous([B], [B])[0],
    ]);
    expect(rleIous([A], [B])[0]).toBe(rleIous([B], [A])[0]);
    const both = a.reduce((sum, value, at) => sum + (value & b[at]!), 0);
    expect(rleIous([A], [B], { crowds: [1] })[0]).toBe(both === 0 ? 0 : both / rleArea(A));
  }
  expect(rleIous([rleOf(new Uint8Array(width * height))], [rleOf(new Uint8Array(width * height))])[0]).toBe(0);
});

test('boxes: overlap over union, or over the detection for crowds', () => {
  expect([...boxIous([0, 0, 4, 4, 9, 9, 1, 1], [2, 2, 4, 4])]).toEqual([4 / 28, 0]);
  expect([...boxIous([0, 0, 4, 4], [2, 2, 4, 4], { crowds: [1] })]).toEqual([4 / 16]);
});

/** pycocotools' rule, pixel by pixel: parity of the crossings before a pixel in the order of the columns. */
function rasterised(polygon: readonly number[], [rows, columns]: readonly [number, number]): Uint8Array {
  const corners = Array.from({ length: Math.floor(polygon.length / 2) }, (_, i) =>
    [polygon[2 * i]!, polygon[2 * i + 1]!].map((value) => Math.trunc(5 * value + 0.5)),
  );
  const points = corners.flatMap(([x0, y0], i) => {
    const [x1, y1] = corners[(i + 1) % corners.length]!;
    const [dx, dy] = [x1! - x0!, y1! - y0!];
    const steps = Math.max(Math.abs(dx), Math.abs(dy));
    return Array.from({ length: steps + 1 }, (_, d) => {
      // measured from the end that comes first along the longer axis
      const forward = Math.abs(dx) >= Math.abs(dy) ? dx >= 0 : dy >= 0;
      const t = forward ? d : steps - d;
      const [fx, fy, gx, gy] = forward ? [x0!, y0!, dx, dy] : [x1!, y1!, -dx, -dy];
      return Math.abs(dx) >= Math.abs(dy)
        ? [fx + t, Math.trunc(fy + (gy / (steps || 1)) * t + 0.5)]
        : [Math.trunc(fx + (gx / steps) * t + 0.5), fy + t];
    });
  });
  const crossings: number[] = [];
  for (let i = 1; i < points.length; i++) {
    const [[u0, v0], [u1, v1]] = [points[i - 1]!, points[i]!];
    if (u0 === u1) continue;
    const column = (u1! < u0! ? u1! : u1! - 1) - 2;
    if (column % 5 !== 0 || column < 0 || column / 5 > columns - 1) continue;
    const row = Math.ceil(Math.min(rows, Math.max(0, (Math.min(v0!, v1!) + 0.5) / 5 - 0.5)));
    crossings.push((column / 5) * rows + row);
  }
  return Uint8Array.from({ length: rows * columns }, (_, at) => {
    const place = (at % columns) * rows + Math.floor(at / columns);
    return crossings.filter((crossing) => crossing <= place).length % 2;
  });
}

test('polygons are those of a rasteriser that asks each pixel', () => {
  for (let i = 0; i < 150; i++) {
    const digits = [0, 1, 2, 12][i % 4]!;
    const polygon = Array.from({ length: 2 * whole(3, 9) }, () => Number(number(-6, 30).toFixed(digits)));
    expect(decodeRle(polygonRle(polygon, [height, width]))).toEqual(rasterised(polygon, [height, width]));
  }
});

test('annotations: polygons are united; boxes are polygons; what is neither is refused', () => {
  const size = [20, 30] as const;
  const [a, b] = [
    [2, 2, 12, 2, 12, 12],
    [8, 1, 20, 5, 8, 15],
  ];
  expect(segmentationRle([a!, b!], size)).toEqual(mergeRles([polygonRle(a!, size), polygonRle(b!, size)]));
  expect(rleBox(boxRle([3, 4, 5, 6], size))).toEqual([3, 4, 5, 6]);
  expect(rleArea(boxRle([3, 4, 5, 6], size))).toBe(30);
  expect(() => segmentationRle([], size)).toThrow('got no polygon');
  expect(() => segmentationRle([[1, 2, 3, 4]], size)).toThrow('at least 6 coordinates, got 4 in the first');
  expect(() => polygonRle([0, 0, Number.NaN, 3, 3, 3], size)).toThrow('got [NaN, 3] as corner 1');
  expect(() => polygonRle([0, 0, 9e7, 9e7, 3, 3], size)).toThrow('its corners lie far off');
  expect(() => segmentationRle({ size: [20, 31], counts: [620] }, size)).toThrow('[20, 30], got [20, 31]');
  expect(() => mergeRles([])).toThrow('at least one mask');
  expect(() => rleIous([boxRle([0, 0, 9, 9], size)], [boxRle([0, 0, 9, 9], [20, 31])])).toThrow('one size');
});

test('the boundary is what lies within d pixels of a pixel outside', () => {
  for (const ratio of [0.02, 0.08, 0.15, 1]) {
    const d = Math.max(1, Math.round(ratio * Math.hypot(width, height)));
    for (let i = 0; i < 10; i++) {
      const mask =
        i % 2
          ? randomMask()
          : decodeRle(boxRle([number(-3, 9), number(-3, 9), whole(1, 20), whole(1, 20)], [height, width]));
      const inside = (x: number, y: number) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] === 1;
      const expected = mask.map((value, at) => {
        const [x, y] = [at % width, Math.floor(at / width)];
        let near = 0;
        for (let dy = -d; dy <= d; dy++) for (let dx = -d; dx <= d; dx++) if (!inside(x + dx, y + dy)) near = 1;
        return value & near;
      });
      expect(decodeRle(rleBoundary(rleOf(mask), { ratio }))).toEqual(expected);
      expect(boundaryIou(rleOf(mask), rleOf(mask), { ratio })).toBe(1);
    }
  }
  const split = { size: [5, 7] as const, counts: [10, 2, 0, 3, 0, 10, 10] }; // runs of 0 pixels part nothing
  expect(decodeRle(rleBoundary(split))).toEqual(
    decodeRle(rleBoundary(encodeRle(decodeRle(split), { width: 7, height: 5 }))),
  );
  expect(() => rleBoundary(split, { ratio: 0 })).toThrow('ratio above 0, got 0');
});
