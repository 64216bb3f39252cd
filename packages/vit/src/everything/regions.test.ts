import { describe, expect, it } from 'vitest';
import { removeSmallRegions } from './regions.ts';

/** '#' is 1, '.' is 0. */
const toMask = (rows: string[]) => Uint8Array.from(rows.join(''), (cell) => Number(cell === '#'));
const toRows = (mask: Uint8Array, width: number) =>
  Array.from({ length: mask.length / width }, (_, y) =>
    Array.from(mask.subarray(y * width, (y + 1) * width), (bit) => (bit ? '#' : '.')).join(''),
  );

/** The size of every pixel's region: labels spread to the eight neighbours of equal value until nothing changes. */
function regionSizes(mask: Uint8Array, width: number): { labels: number[]; sizes: number[] } {
  const labels = Array.from(mask, (_, i) => i);
  for (let changed = true; changed; ) {
    changed = false;
    labels.forEach((label, i) => {
      labels.forEach((other, j) => {
        const near =
          Math.abs((i % width) - (j % width)) <= 1 && Math.abs(Math.floor(i / width) - Math.floor(j / width)) <= 1;
        if (near && mask[i] === mask[j] && other < label) {
          labels[i] = Math.min(labels[i]!, other);
          changed = true;
        }
      });
    });
  }
  return { labels, sizes: labels.map((label) => labels.filter((other) => other === label).length) };
}

/** Holes first, then islands, each by the definition. */
function plainRemoval(mask: Uint8Array, { width, minArea }: { width: number; minArea: number }): Uint8Array {
  const holes = regionSizes(mask, width);
  const filled = mask.map((bit, i) => (bit === 0 && holes.sizes[i]! < minArea ? 1 : bit));
  const { labels, sizes } = regionSizes(filled, width);
  const largest = Math.max(0, ...sizes.filter((_, i) => filled[i] === 1));
  const kept = labels[sizes.findIndex((size, i) => filled[i] === 1 && size === largest)];
  return filled.map((bit, i) => (bit === 1 && (sizes[i]! >= minArea || labels[i] === kept) ? 1 : 0));
}

describe('removeSmallRegions', () => {
  it.each([1, 2, 4, 9, 30, 1000])('is the definition for regions below %s pixels', (minArea) => {
    const width = 13;
    let state = minArea;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    for (const share of [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]) {
      const mask = Uint8Array.from({ length: width * 11 }, () => Number(random() < share));
      const expected = plainRemoval(mask, { width, minArea });
      const changes = !regionSizes(mask, width).sizes.every((size) => size >= minArea);
      const result = mask.slice();
      const changed = removeSmallRegions(result, { width, minArea });
      expect(result).toEqual(expected);
      if (!changes) expect(changed).toBe(false);
      if (result.join() !== mask.join()) expect(changed).toBe(true);
    }
  });

  it('fills a hole, removes an island, and joins across corners', () => {
    const mask = toMask(['####..#', '#.##...', '####...', '....#..', '.....##']);
    expect(removeSmallRegions(mask, { width: 7, minArea: 2 })).toBe(true);
    expect(toRows(mask, 7)).toEqual(['####...', '####...', '####...', '....#..', '.....##']);
    expect(removeSmallRegions(mask, { width: 7, minArea: 2 })).toBe(false);
  });

  it('keeps the largest island when all are small, and calls that a change as segment-anything does', () => {
    const mask = toMask(['#......', '....##.', '.......', '.......']);
    expect(removeSmallRegions(mask, { width: 7, minArea: 5 })).toBe(true);
    expect(toRows(mask, 7)).toEqual(['.......', '....##.', '.......', '.......']);
    expect(removeSmallRegions(mask, { width: 7, minArea: 5 })).toBe(true);
  });
});
