import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodePoints } from '../src/everything/decode-points.ts';
import { settingsOf } from '../src/everything/options.ts';
import { createPredictor, type ImageEmbedding, type ImagePrompts } from '../src/index.ts';
import { batchSizes } from '../src/masks/batch-sizes.ts';
import { type Fixture, imageOf, loose, peakBytes, readTiny, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
let tiny: Fixture;
let image: ImageEmbedding;
beforeAll(async () => {
  tiny = await readTiny();
  image = createPredictor(tiny.weights, tinyConfig).embed(imageOf(tiny));
});

const maskPixels = 117 * 90;

describe('decoding stays within the limit, and uses half of it', () => {
  it.each([1e6, 4e6])('of %s bytes in everything mode', async (memoryLimit) => {
    const settings = settingsOf({ ...loose, memoryLimit });
    const sizes = { embeddingSize: image.embedding.size, maskPixels, memoryLimit };
    const { prompts, masks: masksAtOnce } = batchSizes(tinyConfig, sizes);
    const points = settings.grids[0]!.slice(0, prompts);
    const crop = { ...image, box: [0, 0, 117, 90] as const };
    const sam = { weights: tiny.weights, config: tinyConfig };
    const peak = await peakBytes(() => decodePoints(sam, crop, { points, settings, masksAtOnce }));
    expect(peak).toBeLessThan(memoryLimit);
    expect(peak).toBeGreaterThan(memoryLimit / 2);
  });

  const eight = Array.from({ length: 16 }, (_, n) => Array.from({ length: 8 }, (_, p) => [5 * n + p, 4 * n + p]));
  const cases: [string, () => ImagePrompts][] = [
    ['points', () => ({ points: eight.map((points) => points.slice(0, 1)) })],
    [
      'eight points, a box and a mask each',
      () => ({
        points: eight,
        boxes: eight.map((points) => [...points[0]!, ...points[7]!]),
        maskInput: tf.zeros([16, 1, 32, 32]),
      }),
    ],
  ];
  it.each(cases)('with prompts of %s', async (_, makePrompts) => {
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const prompts = makePrompts();
    const memoryLimit = 2e6;
    const peak = await peakBytes(async () => {
      const { lowRes } = await predictor.predict(image, prompts, { logits: true, memoryLimit });
      lowRes.dispose();
    });
    const results = 16 * 3 * 32 * 32 * 4;
    expect(peak - 2 * results).toBeLessThan(memoryLimit);
    expect(peak).toBeGreaterThan(memoryLimit / 2);
  });
});
