import { decodeRle, encodeRle } from '@slimsam/eval';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { boxToXywh, maskBox } from '../src/everything/boxes.ts';
import { removeSmallRegions } from '../src/everything/regions.ts';
import { type EverythingOptions, type EverythingProgress, type RgbImage, segmentEverything } from '../src/index.ts';
import { expectSame, type Fixture, imageOf, loose, readTiny, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
let tiny: Fixture;
let image: RgbImage;
beforeAll(async () => {
  tiny = await readTiny();
  image = imageOf(tiny);
});

const segment = (options?: EverythingOptions) => segmentEverything(tiny.weights, tinyConfig, image, options);

describe('segmentEverything', () => {
  it('asks at points of its own as at those of the grid', async () => {
    const few = [0.25, 0.75].flatMap((y) => [0.25, 0.75].map((x) => [x, y] as const));
    const found = await segment({ ...loose, pointsPerSide: undefined, pointGrids: [few], boxNmsThresh: 1 });
    expectSame(found, await segment({ ...loose, pointsPerSide: 2, boxNmsThresh: 1 }));
    expect(found.length).toBe(12);
  });

  it('removes small regions, and then the masks that have become alike', async () => {
    const options = { ...loose, boxNmsThresh: 0.95, cropNmsThresh: 0.9 };
    const [raw, cleaned] = [await segment(options), await segment({ ...options, minMaskRegionArea: 40 })];
    expect(cleaned.length).toBeLessThanOrEqual(raw.length);
    let changed = 0;
    for (const mask of cleaned) {
      const before = raw.find(({ predictedIou }) => predictedIou === mask.predictedIou)!;
      const own = before.segmentation.slice();
      if (removeSmallRegions(own, { width: 117, minArea: 40 })) changed++;
      expect(mask.segmentation).toEqual(own);
      expect(mask.area).toBe(own.reduce((sum, bit) => sum + bit, 0));
      expect(mask.bbox).toEqual(boxToXywh(maskBox(own, 117)));
      expect(mask.stabilityScore).toBe(before.stabilityScore);
    }
    expect(changed).toBeGreaterThan(0);
  });

  it('encodes masks as it is told, and tells how far it is', async () => {
    const heard: EverythingProgress[] = [];
    const options = {
      ...loose,
      cropNLayers: 1,
      pointsPerBatch: 10,
      onProgress: (now: EverythingProgress) => heard.push(now),
    };
    const found = await segmentEverything(tiny.weights, tinyConfig, image, { ...options, encode: encodeRle });
    const plain = await segment(options);
    expect(found.map(({ segmentation }) => decodeRle(segmentation))).toEqual(plain.map((mask) => mask.segmentation));
    const first = heard.slice(0, heard.length / 2);
    expect(first.map(({ done }) => done)).toEqual([10, 16, 26, 32, 42, 48, 58, 64, 74, 80]);
    expect(first.map(({ crop }) => crop)).toEqual([1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
    expect(first.every(({ total, crops }) => total === 80 && crops === 5)).toBe(true);
    expect(heard.slice(first.length)).toEqual(first);
  });

  it('finds nothing where no mask is good enough, and says so', async () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue(undefined);
    const heard: EverythingProgress[] = [];
    expect(await segment({ pointsPerSide: 2, onProgress: (progress) => heard.push(progress) })).toEqual([]);
    expect(heard.at(-1)).toMatchObject({ done: 4, decoded: 12, wellPredicted: 0, masks: 0 });
    const { bestIou } = heard.at(-1)!;
    expect(bestIou).toBeLessThan(0.88);
    expect(await segment({ ...loose, pointsPerSide: 1, stabilityScoreThresh: 1, minMaskRegionArea: 5 })).toEqual([]);
    expect(warn.mock.calls).toEqual([
      [
        expect.stringContaining(
          `none of 12 masks was kept: the best has a predicted IoU of ${bestIou.toFixed(2)}, predIou`,
        ),
      ],
      [expect.stringContaining('of 3 above predIouThresh none reaches stabilityScoreThresh 1')],
    ]);
    warn.mockRestore();
  });

  it('ends when the signal aborts, and leaks nothing then or on a missing weight', async () => {
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    let batches = 0;
    const onProgress = () => {
      batches++;
      controller.abort(new Error('enough'));
    };
    const { signal } = controller;
    await expect(segment({ ...loose, pointsPerBatch: 4, onProgress, signal })).rejects.toThrow('enough');
    expect(batches).toBe(1);
    await expect(segment({ ...loose, signal })).rejects.toThrow('enough');
    for (const name of ['image_encoder.neck.0.weight', 'mask_decoder.iou_token.weight']) {
      const { [name]: _, ...rest } = tiny.weights;
      await expect(segmentEverything(rest, tinyConfig, image, loose)).rejects.toThrow(`expected weight '${name}'`);
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuses an image whose data does not fit its size', async () => {
    await expect(segmentEverything(tiny.weights, tinyConfig, { ...image, height: 91 })).rejects.toThrow(
      'segmentEverything: expected an image with data [height, width, 3 or 4], got 117 x 91 pixels and 31590 bytes; decodeImage() makes one',
    );
  });
});
