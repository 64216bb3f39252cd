import { describe, expect, it } from 'vitest';
import { type EverythingOptions, settingsOf } from './options.ts';

describe('settingsOf', () => {
  it("has segment-anything's defaults", () => {
    const { grids, onProgress: _, ...numbers } = settingsOf({});
    expect(grids.map((grid) => grid.length)).toEqual([1024]);
    expect(numbers).toEqual({
      pointsPerBatch: 64,
      predIouThresh: 0.88,
      stabilityScoreThresh: 0.95,
      stabilityScoreOffset: 1,
      boxNmsThresh: 0.7,
      cropNmsThresh: 0.7,
      cropOverlapRatio: 512 / 1500,
      minMaskRegionArea: 0,
      maskThreshold: 0,
      memoryLimit: 2 ** 30,
      signal: undefined,
    });
  });

  it('thins the grid of each layer, rounding down, and takes as many grids as there are layers', () => {
    const sizes = (options: EverythingOptions) => settingsOf(options).grids.map((grid) => grid.length);
    expect(sizes({ pointsPerSide: 11, cropNLayers: 2, cropNPointsDownscaleFactor: 2 })).toEqual([121, 25, 4]);
    expect(sizes({ pointsPerSide: 3, cropNLayers: 1 })).toEqual([9, 9]);
    const pointGrids = [[[0, 1]], [[0.5, 0.5]], [[1, 1]]] as [[number, number]][];
    expect(settingsOf({ pointGrids, cropNLayers: 1 }).grids).toEqual(pointGrids.slice(0, 2));
  });

  it.each<[object, string]>([
    [{ pointsPerSide: 0 }, 'expected pointsPerSide to be a whole number of at least 1, got 0; leave it out for 32'],
    [{ pointsPerSide: 2.5 }, 'expected pointsPerSide to be a whole number of at least 1, got 2.5'],
    [{ pointsPerBatch: Number.NaN }, 'expected pointsPerBatch to be a whole number of at least 1, got NaN'],
    [{ predIouThresh: '0.9' }, 'expected predIouThresh to be a number, got 0.9; leave it out for 0.88'],
    [{ predIouThresh: Number.POSITIVE_INFINITY }, 'expected predIouThresh to be a number, got Infinity'],
    [{ stabilityScoreThresh: 95 }, 'expected stabilityScoreThresh to be a number of at most 1, got 95'],
    [{ stabilityScoreOffset: -1 }, 'expected stabilityScoreOffset to be a number of at least 0, got -1'],
    [{ boxNmsThresh: 1.1 }, 'expected boxNmsThresh to be a number in [0, 1], got 1.1; leave it out for 0.7'],
    [{ cropNmsThresh: -0.1 }, 'expected cropNmsThresh to be a number in [0, 1], got -0.1'],
    [{ cropNLayers: -1 }, 'expected cropNLayers to be a whole number of at least 0, got -1; leave it out for 0'],
    [{ cropOverlapRatio: 1 }, 'expected cropOverlapRatio to be a number in [0, 1), got 1; leave it out for 0.341'],
    [
      { cropNPointsDownscaleFactor: 0 },
      'expected cropNPointsDownscaleFactor to be a whole number of at least 1, got 0',
    ],
    [{ minMaskRegionArea: -3 }, 'expected minMaskRegionArea to be a number of pixels of at least 0, got -3'],
    [{ memoryLimit: 0 }, 'expected memoryLimit to be a number of bytes above 0, got 0'],
    [{ onProgress: 'loud' }, 'expected onProgress to be a function, got loud; leave it out'],
    [{ encode: 'coco_rle' }, 'expected encode to be a function, got coco_rle; leave it out'],
    [{ points_per_side: 8 }, "got 'points_per_side'; leave it out"],
    [
      { pointsPerSide: 8, cropNLayers: 4, cropNPointsDownscaleFactor: 2 },
      'expected pointsPerSide of at least 2 ** 4 for crop layer 4, got 8; raise it, or lower',
    ],
    [
      { pointsPerSide: 8, pointGrids: [[[0, 0]]] },
      'expected pointsPerSide or pointGrids, got both; leave pointsPerSide',
    ],
    [{ pointGrids: [[[0, 0]]], cropNLayers: 1 }, 'expected 2 pointGrids for cropNLayers 1, got 1; give one for the'],
    [{ pointGrids: [[]] }, 'expected pointGrids[0] with points, got none; give at least one point'],
    [
      {
        pointGrids: [
          [[0.5, 0.5]],
          [
            [0.1, 0.2],
            [40, 30],
          ],
        ],
        cropNLayers: 1,
      },
      'expected pointGrids[1][1] to be x and y in [0, 1], got [40,30]; divide pixels by width and height',
    ],
  ])('refuses %j', (options, message) => {
    expect(() => settingsOf(options)).toThrow(
      `segmentEverything: ${message.startsWith('expected') ? message : 'expected options among'}`,
    );
    expect(() => settingsOf(options)).toThrow(message);
  });
});
