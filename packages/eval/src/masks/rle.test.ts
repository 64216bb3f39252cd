import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { maskIou } from './mask-iou.ts';
import { type CompressedRle, compressRle, decodeRle, decompressRle, encodeRle, rleArea, rleBox } from './rle.ts';

/** Made by pycocotools. */
interface Reference {
  rle: (CompressedRle & { area: number; bbox: number[] })[];
  crowd: { size: [number, number]; counts: number[]; area: number; bbox: number[] };
  iou: { detections: CompressedRle[]; annotations: CompressedRle[]; iou: number[][] };
}
const fixture = new URL('../../test/fixtures/coco-rle.json', import.meta.url);
const reference: Reference = JSON.parse(readFileSync(fixture, 'utf8'));

test('strings, areas and boxes are those of pycocotools', () => {
  for (const { size, counts, area, bbox } of reference.rle) {
    const rle = decompressRle({ size, counts });
    expect(compressRle(rle)).toEqual({ size, counts });
    expect(rleArea(rle)).toBe(area);
    expect(rleBox(rle)).toEqual(bbox);
    const mask = decodeRle(rle);
    expect(mask.reduce((sum, inside) => sum + inside, 0)).toBe(area);
    expect(encodeRle(mask, { width: size[1], height: size[0] })).toEqual(rle);
  }
});

test('uncompressed runs are read too', () => {
  expect(rleArea(reference.crowd)).toBe(reference.crowd.area);
  expect(rleBox(reference.crowd)).toEqual(reference.crowd.bbox);
});

test('IoU is that of pycocotools', () => {
  const { detections, annotations, iou } = reference.iou;
  const masks = annotations.map(decodeRle);
  expect(detections.map((detection) => masks.map((mask) => maskIou(decodeRle(detection), mask)))).toEqual(iou);
});

test('a small mask, its columns and its string', () => {
  const mask = new Uint8Array([0, 1, 1, 0, 1, 0]);
  const rle = encodeRle(mask, { width: 3, height: 2 });
  expect(rle).toEqual({ size: [2, 3], counts: Uint32Array.of(2, 3, 1) });
  expect(decodeRle(rle)).toEqual(mask);
  expect(decompressRle(compressRle(rle))).toEqual(rle);
});

test.each([
  ['empty', 0],
  ['full', 1],
])('an %s mask', (_, value) => {
  const mask = new Uint8Array(35).fill(value);
  const rle = encodeRle(mask, { width: 5, height: 7 });
  expect([...rle.counts]).toEqual(value ? [0, 35] : [35]);
  expect(rleBox(rle)).toEqual(value ? [0, 0, 5, 7] : [0, 0, 0, 0]);
  expect(decodeRle(compressRle(rle))).toEqual(mask);
});

test('long runs survive the string', () => {
  const rle = { size: [40_000, 50_000] as const, counts: Uint32Array.of(1_999_999_999, 1) };
  expect(decompressRle(compressRle(rle))).toEqual(rle);
});

test('the IoU of two empty masks is 1; sizes must agree', () => {
  expect(maskIou(new Uint8Array(4), new Uint8Array(4))).toBe(1);
  expect(() => maskIou(new Uint8Array(4), new Uint8Array(5))).toThrow('got 4 and 5 pixels');
});

test('what is no RLE is refused', () => {
  expect(() => encodeRle(new Uint8Array(5), { width: 2, height: 3 })).toThrow('expected 3 x 2 = 6 pixels, got 5');
  expect(() => decodeRle({ size: [2, 3], counts: [2, 3] })).toThrow('expected runs that add up to 2 x 3 = 6, got 5');
  expect(() => decodeRle({ size: [2, 3], counts: [7, -1] })).toThrow('whole and at least 0, got -1');
  expect(() => decodeRle({ size: [2, 3], counts: [5.5, 0.5] })).toThrow('whole and at least 0, got 5.5');
  expect(() => decodeRle({ size: [2, 3], counts: '2~' })).toThrow('got character 2 of 2 wrong');
  expect(() => decodeRle({ size: [2, 3], counts: '2S' })).toThrow('got its end within a run');
  expect(() => decodeRle({ size: [2, 3], counts: 'N' })).toThrow('at least 0, got -2');
});

test('sizes and runs that nothing made are refused before memory is taken', () => {
  const refused: [unknown, string][] = [
    [
      { size: [40000, 40000], counts: [1600000000] },
      'decodeRle: expected a mask of at most 268435456 pixels, got 40000 x 40000',
    ],
    [{ size: [2 ** 53, 1], counts: [1] }, 'expected a size [height, width]'],
    [{ size: [-2, -2], counts: [4] }, 'got [-2,-2]'],
    [{ size: [2, 2, 1], counts: [4] }, 'got [2,2,1]'],
    [{ size: [1.5, 2], counts: [3] }, 'got [1.5,2]'],
    [{ counts: [3] }, 'got none'],
    [null, 'got none'],
    [{ size: [2, 2], counts: [-1, 5] }, 'runs that are whole and at least 0, got -1'],
    [{ size: [2, 2], counts: [{ a: 1 }, 2] }, 'whole and at least 0, got {"a":1}'],
    [{ size: [2, 2], counts: ['\u001b[2J'] }, 'whole and at least 0, got "\\u001b[2J"'],
    [{ size: [2, 2] }, 'expected runs as a string or a list, got none'],
  ];
  for (const [rle, message] of refused) expect(() => decodeRle(rle as CompressedRle)).toThrow(message);
});
