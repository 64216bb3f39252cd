import { describe, expect, it } from 'vitest';
import { labelMap } from './label-map.ts';
import type { EverythingMask } from './segment-everything.ts';

const maskOf = (bits: number[], predictedIou: number): EverythingMask => ({
  segmentation: Uint8Array.from(bits),
  area: bits.reduce((sum, bit) => sum + bit, 0),
  predictedIou,
  stabilityScore: 1,
  bbox: [0, 0, 0, 0],
  pointCoords: [],
  cropBox: [0, 0, 3, 2],
});

describe('labelMap', () => {
  const masks = [maskOf([1, 1, 1, 1, 1, 0], 0.9), maskOf([0, 1, 1, 0, 0, 0], 0.5), maskOf([0, 0, 1, 1, 0, 0], 0.7)];
  const size = { width: 3, height: 2 };

  it('gives each pixel to its smallest mask, the earlier of equals', () => {
    expect(Array.from(labelMap(masks, size))).toEqual([1, 2, 2, 3, 1, 0]);
    expect(Array.from(labelMap([], size))).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('gives each pixel to its best predicted mask', () => {
    const [large, ...small] = masks;
    const low = [{ ...large!, predictedIou: 0.6 }, ...small];
    expect(Array.from(labelMap(low, { ...size, prefer: 'best-predicted' }))).toEqual([1, 1, 3, 3, 1, 0]);
  });

  it('refuses masks of another size, encoded ones, and unknown preferences', () => {
    expect(() => labelMap(masks, { width: 3, height: 3 })).toThrow(
      'labelMap: expected masks[0].segmentation of 3 x 3 = 9 pixels, got 6; decode run lengths first',
    );
    const encoded = { ...masks[0]!, segmentation: { size: [2, 3], counts: '0' } as never };
    expect(() => labelMap([encoded], size)).toThrow('got object; decode run lengths first');
    expect(() => labelMap(masks, { ...size, prefer: 'largest' as never })).toThrow("got 'largest'");
  });
});
