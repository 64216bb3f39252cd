import { expect, it } from 'vitest';
import type { Box } from './boxes.ts';
import { packedArea, packMask, unpackMask } from './packed-mask.ts';

it.each<[string, number[]]>([
  ['empty', [0, 0, 0, 0, 0, 0]],
  ['full', [1, 1, 1, 1, 1, 1]],
  ['a first pixel', [1, 0, 0, 0, 0, 0]],
  ['a run across rows', [0, 1, 1, 1, 1, 0]],
  ['a last pixel', [0, 0, 0, 0, 0, 1]],
])('a mask comes back from its runs, and lies where its frame was: %s', (_name, bits) => {
  const frame: Box = [2, 1, 5, 3]; // 3 x 2 pixels of 7 x 4
  const packed = packMask(Uint8Array.from(bits), frame);
  const mask = unpackMask(packed, { width: 7, height: 4 });
  const expected = new Uint8Array(7 * 4);
  bits.forEach((bit, i) => {
    expected[(1 + Math.floor(i / 3)) * 7 + 2 + (i % 3)] = bit;
  });
  expect(mask).toEqual(expected);
  expect(packedArea(packed)).toBe(bits.filter((bit) => bit === 1).length);
});
