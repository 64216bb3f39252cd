import { describe, expect, it } from 'vitest';
import { type Box, boxToXywh, isCutOff, maskBox, suppressBoxes } from './boxes.ts';

/** Whole numbers from 0 to below `limit`, the same in every run. */
function randomIntegers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** IoU by counting unit cells, in float32 as torchvision has it: 0.3 is above a threshold of 0.3 then. */
function countedIou(a: Box, b: Box): number {
  let [overlap, union] = [0, 0];
  const covers = ([x0, y0, x1, y1]: Box, x: number, y: number) => x >= x0 && x < x1 && y >= y0 && y < y1;
  for (let y = 0; y < 24; y++) {
    for (let x = 0; x < 24; x++) {
      const [inA, inB] = [covers(a, x, y), covers(b, x, y)];
      if (inA && inB) overlap++;
      if (inA || inB) union++;
    }
  }
  return union === 0 ? 0 : Math.fround(overlap / union);
}

/** By the definition: a box stays unless a better one that stays overlaps it too much. */
function plainSuppression(boxes: Box[], { scores, threshold }: { scores: number[]; threshold: number }): number[] {
  const better = (a: number, b: number) => scores[a]! > scores[b]! || (scores[a] === scores[b] && a < b);
  const stays = (i: number): boolean =>
    !boxes.some((box, j) => better(j, i) && countedIou(box, boxes[i]!) > threshold && stays(j));
  return boxes
    .map((_, i) => i)
    .filter(stays)
    .sort((a, b) => (better(a, b) ? -1 : 1));
}

describe('suppressBoxes', () => {
  it.each([0, 0.3, 0.5, 0.7, 1])('is the definition at threshold %s, with ties and boxes without area', (threshold) => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = randomIntegers(seed);
      const boxes = Array.from({ length: 25 }, (): Box => {
        const [x, y] = [random(12), random(12)];
        return [x, y, x + random(12), y + random(12)];
      });
      const how = { scores: boxes.map(() => random(6) / 4), threshold };
      expect(suppressBoxes(boxes, how)).toEqual(plainSuppression(boxes, how));
    }
  });

  it('keeps a box whose IoU is the threshold itself, every empty box, and nothing of nothing', () => {
    const halves: Box[] = [
      [0, 0, 2, 2],
      [0, 0, 2, 1],
    ];
    expect(suppressBoxes(halves, { scores: [1, 2], threshold: 0.5 })).toEqual([1, 0]);
    expect(suppressBoxes(halves, { scores: [1, 2], threshold: 0.49 })).toEqual([1]);
    const empty: Box[] = [
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ];
    expect(suppressBoxes(empty, { scores: [1, 1], threshold: 0 })).toEqual([0, 1]);
    expect(suppressBoxes([], { scores: [], threshold: 0.5 })).toEqual([]);
  });
});

describe('maskBox', () => {
  it('goes from the first to the last pixel inside', () => {
    const mask = new Uint8Array(5 * 4);
    expect(maskBox(mask, 5)).toEqual([0, 0, 0, 0]);
    mask[1 * 5 + 3] = 1;
    expect(maskBox(mask, 5)).toEqual([3, 1, 3, 1]);
    mask[3 * 5 + 1] = 1;
    mask[2 * 5 + 2] = 1;
    expect(maskBox(mask, 5)).toEqual([1, 1, 3, 3]);
    expect(boxToXywh([1, 1, 3, 3])).toEqual([1, 1, 2, 2]);
    expect(maskBox(mask.fill(1), 5)).toEqual([0, 0, 4, 3]);
  });
});

describe('isCutOff', () => {
  const image = { width: 300, height: 200 };
  const crop: Box = [100, 0, 200, 200];
  it.each<[string, Box, boolean]>([
    ['far from the sides', [130, 50, 170, 150], false],
    ['20 pixels from a side', [120, 50, 170, 150], true],
    ['21 pixels from it', [121, 50, 170, 150], false],
    ['at the right side', [130, 50, 199, 150], true],
    ["at sides that are the image's too", [130, 0, 170, 199], false],
  ])('a box %s', (_name, box, expected) => {
    expect(isCutOff(box, crop, image)).toBe(expected);
  });
});
