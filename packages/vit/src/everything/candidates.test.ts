import { expect, it } from 'vitest';
import { type Candidate, withoutSmallRegions } from './candidates.ts';
import { packMask, unpackMask } from './packed-mask.ts';

it('of masks that have become alike keeps one that needed no change, with its numbers', () => {
  const size = { width: 8, height: 4 };
  const full = [0, 0, 8, 4] as const;
  const candidate = (mask: Uint8Array, box: Candidate['box'], predictedIou: number): Candidate => ({
    ...{ packed: packMask(mask, full), box, predictedIou },
    ...{ area: mask.filter((bit) => bit === 1).length, stabilityScore: 1, point: [0, 0], crop: full },
  });
  const square = new Uint8Array(32).fill(1, 0, 4).fill(1, 8, 12).fill(1, 16, 20); // 4 x 3 pixels
  const speckled = square.slice().fill(1, 31);
  const elsewhere = new Uint8Array(32).fill(1, 5, 8).fill(1, 13, 16).fill(1, 24);
  const masks = [
    candidate(speckled, [0, 0, 7, 3], 0.9),
    candidate(square, [0, 0, 3, 2], 0.8),
    candidate(elsewhere, [0, 0, 7, 3], 0.7),
  ];
  const cleaned = withoutSmallRegions(masks, { size, minArea: 2, threshold: 0.7 });
  expect(cleaned.map(({ predictedIou, area, box }) => ({ predictedIou, area, box }))).toEqual([
    { predictedIou: 0.8, area: 12, box: [0, 0, 3, 2] },
    { predictedIou: 0.7, area: 14, box: [0, 0, 7, 3] },
  ]);
  expect(unpackMask(cleaned[0]!.packed, size)).toEqual(square);
  expect(withoutSmallRegions(masks, { size, minArea: 1, threshold: 0.7 }).map((mask) => mask.predictedIou)).toEqual([
    0.9, 0.8,
  ]);
});
