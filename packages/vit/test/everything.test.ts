import { readFile } from 'node:fs/promises';
import { type CompressedRle, compressRle, encodeRle } from '@slimsam/eval';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { cutImage } from '../src/everything/crops.ts';
import {
  createPredictor,
  type EverythingMask,
  type EverythingOptions,
  type RgbImage,
  segmentEverything,
} from '../src/index.ts';
import { upsampleMasks } from '../src/masks/upsample-masks.ts';
import { expectSame, type Fixture, imageOf, loose, readTiny, tinyConfig, withWebgpu } from './support.ts';

/** everything.json: segment-anything's options and the masks that they gave. */
interface Expected {
  options: Record<string, number>;
  masks: {
    segmentation: CompressedRle;
    area: number;
    bbox: number[];
    predicted_iou: number;
    point_coords: number[];
    stability_score: number;
    crop_box: number[];
  }[];
}

withWebgpu();
let tiny: Fixture;
let image: RgbImage;
let expected: { mask_threshold: number; single_crop: Expected; crops: Expected };
beforeAll(async () => {
  tiny = await readTiny();
  image = imageOf(tiny);
  expected = JSON.parse(await readFile(new URL('fixtures/sam-tiny/everything.json', import.meta.url), 'utf8'));
});

const segment = (options?: EverythingOptions) => segmentEverything(tiny.weights, tinyConfig, image, options);

describe('segmentEverything', () => {
  it.each(['single_crop', 'crops'] as const)(
    'gives the masks of segment-anything, pixel for pixel: %s',
    async (name) => {
      const { options, masks } = expected[name];
      const camelCase = (key: string) => key.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
      const own = Object.fromEntries(Object.entries(options).map(([key, value]) => [camelCase(key), value]));
      const before = tf.memory().numTensors;
      const found = await segment({ ...own, maskThreshold: expected.mask_threshold });
      expect(tf.memory().numTensors).toBe(before);
      expect(found.map(({ segmentation }) => compressRle(encodeRle(segmentation, image)))).toEqual(
        masks.map(({ segmentation }) => segmentation),
      );
      found.forEach((mask, i) => {
        const reference = masks[i]!;
        expect(mask.area).toBe(reference.area);
        expect(mask.bbox).toEqual(reference.bbox);
        expect(mask.cropBox).toEqual(reference.crop_box);
        expect(mask.pointCoords).toEqual([reference.point_coords]);
        expect(mask.predictedIou).toBeCloseTo(reference.predicted_iou, 5);
        expect(mask.stabilityScore).toBeCloseTo(reference.stability_score, 6);
      });
    },
  );

  it('keeps what the thresholds say, point for point as the predictor answers', async () => {
    const options = { ...loose, predIouThresh: 0.1, stabilityScoreThresh: 0.3, boxNmsThresh: 1 };
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const embedded = predictor.embed(image);
    const reference: Pick<EverythingMask, 'segmentation' | 'predictedIou' | 'stabilityScore'>[] = [];
    let dropped = 0;
    for (let i = 0; i < 16; i++) {
      const point = [(((i % 4) + 0.5) / 4) * 117, ((Math.floor(i / 4) + 0.5) / 4) * 90];
      const { lowRes, scores } = await predictor.predict(embedded, { points: [point] });
      const large = upsampleMasks(lowRes, { ...embedded, imageSize: 128 });
      const logits = await large.data();
      scores[0]!.forEach((predictedIou, m) => {
        const own = logits.slice(m * 117 * 90, (m + 1) * 117 * 90);
        const above = (threshold: number) => own.filter((logit) => logit > threshold).length;
        const stabilityScore = above(0.04) / above(0);
        if (predictedIou > 0.1 && stabilityScore >= 0.3) {
          reference.push({ segmentation: Uint8Array.from(own, (x) => Number(x > 0.02)), predictedIou, stabilityScore });
        } else dropped++;
      });
      tf.dispose([lowRes, large]);
    }
    embedded.embedding.dispose();
    reference.sort((a, b) => b.predictedIou - a.predictedIou);
    const found = await segment(options);
    expect(found).toHaveLength(reference.length);
    expect(dropped).toBeGreaterThan(found.length / 2);
    found.forEach(({ segmentation, predictedIou, stabilityScore }, i) => {
      expect(segmentation).toEqual(reference[i]!.segmentation);
      expect(predictedIou).toBeCloseTo(reference[i]!.predictedIou, 5);
      expect(stabilityScore).toBeCloseTo(reference[i]!.stabilityScore, 6);
    });
  });

  it('decodes batches as it does one by one', async () => {
    const reference = await segment({ ...loose, boxNmsThresh: 1 });
    expect(reference.length).toBe(48);
    expectSame(await segment({ ...loose, boxNmsThresh: 1, pointsPerBatch: 1 }), reference);
    expectSame(await segment({ ...loose, boxNmsThresh: 1, pointsPerBatch: 5, memoryLimit: 1e6 }), reference);
  });

  it('finds in a crop what it finds in an image of its own', async () => {
    // so few pixels are inside that some masks end within a crop
    const sparse = { ...loose, maskThreshold: 0.11, boxNmsThresh: 1, cropNmsThresh: 1 };
    const reference = await segment({ ...sparse, cropNLayers: 1 });
    const [x, y, width, height] = [44, 0, 73, 60];
    const found = reference.filter(({ cropBox, area }) => cropBox.join() === [x, y, width, height].join() && area > 0);
    expect(found.length).toBeGreaterThan(0);
    const cut = cutImage(image, [x, y, x + width, y + height]);
    const own = await segmentEverything(tiny.weights, tinyConfig, cut, sparse);
    for (const mask of found) {
      const [px, py] = mask.pointCoords[0]!;
      const same = own.find(
        ({ pointCoords: [[u, v] = [0, 0]], area }) => u + x === px && v + y === py && area === mask.area,
      )!;
      const pixels = mask.segmentation.filter((_, i) => i % 117 >= x && Math.floor(i / 117) < height);
      expect(pixels).toEqual(same.segmentation);
      expect(mask.area).toBe(pixels.filter((bit) => bit === 1).length);
      expect(mask.bbox).toEqual([same.bbox[0] + x, same.bbox[1] + y, same.bbox[2], same.bbox[3]]);
      expect(mask.predictedIou).toBeCloseTo(same.predictedIou, 5);
    }
  });
});
