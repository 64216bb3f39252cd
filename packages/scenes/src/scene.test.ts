import { expect, test } from 'vitest';
import { generateScene } from './scene.ts';

const size = { width: 96, height: 64 };

test('equal seeds give equal scenes, others differ', () => {
  expect(generateScene(7, size)).toEqual(generateScene(7, size));
  expect(generateScene(7, size).image.data).not.toEqual(generateScene(8, size).image.data);
});

test('every annotation is fair: large enough, in the image, with its box, area and point', () => {
  for (let seed = 0; seed < 40; seed++) {
    const { image, annotations } = generateScene(seed, size);
    expect(image.data).toHaveLength(96 * 64 * 3);
    expect(annotations.length).toBeGreaterThanOrEqual(3);
    expect(annotations.length).toBeLessThanOrEqual(8);
    const taken = new Uint8Array(96 * 64);
    for (const { mask, area, bbox, point } of annotations) {
      const inside = [...mask.keys()].filter((at) => mask[at]);
      const xs = inside.map((at) => at % 96);
      const ys = inside.map((at) => Math.floor(at / 96));
      const [x0, y0] = [Math.min(...xs), Math.min(...ys)];
      expect(bbox).toEqual([x0, y0, Math.max(...xs) - x0 + 1, Math.max(...ys) - y0 + 1]);
      expect(area).toBe(inside.length);
      expect(area).toBeGreaterThanOrEqual(0.006 * 96 * 64);
      expect(mask[point[1] * 96 + point[0]]).toBe(1);
      for (const at of inside) expect(taken[at]!++).toBe(0);
    }
  }
});

test('objects look different from what is around them', () => {
  const differences: number[] = [];
  for (let seed = 0; seed < 20; seed++) {
    const { image, annotations } = generateScene(seed, size);
    const mean = (wanted: (at: number) => boolean): number[] => {
      const sum = [0, 0, 0, 0];
      for (let at = 0; at < 96 * 64; at++) {
        if (!wanted(at)) continue;
        for (let k = 0; k < 3; k++) sum[k]! += image.data[at * 3 + k]!;
        sum[3]!++;
      }
      return sum.slice(0, 3).map((total) => total / sum[3]!);
    };
    const background = mean((at) => annotations.every(({ mask }) => !mask[at]));
    for (const { mask } of annotations) {
      differences.push(Math.hypot(...mean((at) => mask[at] === 1).map((value, k) => value - background[k]!)));
    }
  }
  differences.sort((a, b) => a - b);
  expect(differences[Math.floor(differences.length / 10)]).toBeGreaterThan(25);
});

test('the number of objects follows the option, as far as the picture has room', () => {
  expect(generateScene(1, { ...size, objects: [2, 2] }).annotations).toHaveLength(2);
  expect(generateScene(1, { width: 256, height: 256, objects: [14, 14] }).annotations).toHaveLength(14);
  expect(generateScene(1, { ...size, objects: [250, 250] }).annotations.length).toBeLessThan(250);
});

test('wrong options are refused', () => {
  expect(() => generateScene(1, { width: 20, height: 64 })).toThrow(
    'expected a width and height of at least 32 pixels, got 20 x 64',
  );
  expect(() => generateScene(1, { ...size, objects: [4, 3] })).toThrow(
    'expected objects: [least, most] within [1, 250], got [4, 3]',
  );
});
