import { readFile } from 'node:fs/promises';
import { type CompressedRle, compressRle, decodeRle, encodeRle } from '@slimsam/eval';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { batchSizes, decodePoints } from '../src/everything/decode-points.ts';
import { settingsOf } from '../src/everything/options.ts';
import {
  createPredictor,
  type EverythingMask,
  type EverythingOptions,
  type EverythingProgress,
  type RgbImage,
  segmentEverything,
  upsampleMasks,
} from '../src/index.ts';
import { type Fixture, readFixture, tinyConfig, withWebgpu } from './support.ts';

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
  tiny = await readFixture('sam-tiny');
  image = { width: 117, height: 90, data: tiny.io.image_u8!.data as Uint8Array };
  expected = JSON.parse(await readFile(new URL('fixtures/sam-tiny/everything.json', import.meta.url), 'utf8'));
});

const segment = (options?: EverythingOptions) => segmentEverything(tiny.weights, tinyConfig, image, options);

/** Few enough masks to compare, and many enough: the small SAM is random, so that its masks are neither stable nor predicted well. */
const loose: EverythingOptions = {
  pointsPerSide: 4,
  predIouThresh: -1,
  stabilityScoreThresh: 0,
  stabilityScoreOffset: 0.02,
  maskThreshold: 0.02,
};

/** The same masks in the same order; the numbers of the model may differ in their last digits. */
function expectSame(found: EverythingMask[], reference: EverythingMask[]): void {
  const exact = ({ predictedIou: _, ...mask }: EverythingMask) => mask;
  expect(found.map(exact)).toEqual(reference.map(exact));
  found.forEach(({ predictedIou }, i) => {
    expect(predictedIou).toBeCloseTo(reference[i]!.predictedIou, 5);
  });
}

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
    console.log(found.length, dropped);
    expect(found).toHaveLength(reference.length);
    found.forEach(({ segmentation, predictedIou, stabilityScore }, i) => {
      expect(segmentation).toEqual(reference[i]!.segmentation);
      expect(predictedIou).toBeCloseTo(reference[i]!.predictedIou, 5);
      expect(stabilityScore).toBeCloseTo(reference[i]!.stabilityScore, 6);
    });
  });

  it('decodes batches as it does one by one, and within little memory', async () => {
    const crops = { ...loose, cropNLayers: 1, cropNPointsDownscaleFactor: 2 };
    const reference = await segment(crops);
    console.log(reference.length);
    expectSame(await segment({ ...crops, pointsPerBatch: 1 }), reference);
    expectSame(await segment({ ...crops, pointsPerBatch: 5 }), reference);
    expectSame(await segment({ ...crops, memoryLimit: 1 }), reference);
  });
});
