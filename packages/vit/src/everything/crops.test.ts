import { describe, expect, it } from 'vitest';
import { cutImage, layCrops, pointGrid } from './crops.ts';

const boxes = (size: { width: number; height: number }, layers: number, overlapRatio = 512 / 1500) =>
  layCrops(size, { grids: Array.from({ length: layers + 1 }, () => pointGrid(1)), overlapRatio }).map(({ box }) => box);

describe('layCrops', () => {
  it('lays the image, then crops that overlap, column by column', () => {
    expect(boxes({ width: 117, height: 90 }, 1)).toEqual([
      [0, 0, 117, 90],
      [0, 0, 74, 60],
      [0, 30, 74, 90],
      [44, 0, 117, 60],
      [44, 30, 117, 90],
    ]);
    expect(boxes({ width: 100, height: 200 }, 1, 0)).toContainEqual([50, 100, 100, 200]);
  });

  it('covers the image in every layer', () => {
    const [width, height] = [117, 90];
    const all = boxes({ width, height }, 3);
    expect(all).toHaveLength(1 + 4 + 16 + 64);
    for (const [from, to] of [
      [1, 5],
      [5, 21],
      [21, 85],
    ]) {
      const seen = new Uint8Array(width * height);
      for (const [x0, y0, x1, y1] of all.slice(from, to)) {
        for (let y = y0; y < y1; y++) seen.fill(1, y * width + x0, y * width + x1);
      }
      expect(seen.indexOf(0)).toBe(-1);
    }
  });

  it('refuses more layers than the image has pixels for', () => {
    expect(() => boxes({ width: 3, height: 90 }, 2)).toThrow(
      'segmentEverything: expected an image that 4 x 4 crops fit into, got 3 x 90 pixels; ask for fewer than 2 crop layers',
    );
  });
});

it('cuts the pixels of a box', () => {
  const image = { width: 3, height: 2, data: Uint8Array.from({ length: 18 }, (_, i) => i) };
  expect(cutImage(image, [1, 0, 3, 2])).toEqual({
    width: 2,
    height: 2,
    data: Uint8Array.from([3, 4, 5, 6, 7, 8, 12, 13, 14, 15, 16, 17]),
  });
});

it('spreads points over the middles of cells, row by row', () => {
  expect(pointGrid(1)).toEqual([[0.5, 0.5]]);
  expect(pointGrid(2)).toEqual([
    [0.25, 0.25],
    [0.75, 0.25],
    [0.25, 0.75],
    [0.75, 0.75],
  ]);
});
