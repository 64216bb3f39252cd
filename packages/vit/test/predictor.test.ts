import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { createPredictor, type RgbImage } from '../src/index.ts';
import { type Fixture, readTiny, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
let tiny: Fixture;
let image: RgbImage;
beforeAll(async () => {
  tiny = await readTiny();
  image = { width: 117, height: 90, data: tiny.io.image_u8!.data as Uint8Array };
});

/** [P, 2] of the fixture as arrays. */
const pointsOf = (name: string) =>
  Array.from({ length: tiny.io[name]!.data.length / 2 }, (_, i) =>
    Array.from(tiny.io[name]!.data.slice(2 * i, 2 * i + 2)),
  );

describe('createPredictor', () => {
  it('gives the masks of segment-anything from pixels, points and boxes, and leaks nothing', async () => {
    const before = tf.memory().numTensors;
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const embedded = predictor.embed(image);
    expect(tf.memory().numTensors).toBe(before + 1);
    const points = pointsOf('points');
    const labels = Array.from(tiny.io.labels!.data);
    const box = Array.from(tiny.io.box!.data);
    const several = await predictor.predict(embedded, { points, labels });
    const single = await predictor.predict(embedded, { boxes: [box, box], multimask: false });
    expect(tf.memory().numTensors).toBe(before + 3);

    const agreement = (bits: Uint8Array, logits: ArrayLike<number>) =>
      bits.reduce((sum, bit, i) => sum + Number(bit === Number(logits[i]! > 0)), 0) / bits.length;
    const pixels = 117 * 90;
    const multi = tiny.io['points.multi.masks_logits']!.data;
    expect(several.masks).toHaveLength(1);
    expect(several.masks[0]).toHaveLength(3);
    several.masks[0]!.forEach((mask, m) => {
      expect(mask).toBeInstanceOf(Uint8Array);
      expect(agreement(mask, multi.slice(m * pixels, (m + 1) * pixels))).toBeGreaterThan(0.999);
    });
    expect(single.masks.map((masks) => masks.length)).toEqual([1, 1]);
    expect(agreement(single.masks[1]![0]!, tiny.io['box.single.masks_logits']!.data)).toBeGreaterThan(0.999);
    expect(single.scores[1]![0]).toBeCloseTo(tiny.io['box.single.iou_predictions']!.data[0]!, 3);
    expect(several.scores[0]![2]).toBeCloseTo(tiny.io['points.multi.iou_predictions']!.data[2]!, 3);

    const again = await predictor.predict(embedded, { points: [points, points], maskInput: single.lowRes });
    expect(again.masks).toHaveLength(2);
    tf.dispose([embedded.embedding, several.lowRes, single.lowRes, again.lowRes]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuses prompts whose shapes disagree, and leaks nothing', async () => {
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const embedded = predictor.embed(image);
    const before = tf.memory().numTensors;
    await expect(predictor.predict(embedded, {})).rejects.toThrow('expected points, boxes or masks');
    await expect(predictor.predict(embedded, { points: [[1, 2]], labels: [1, 0] })).rejects.toThrow('points [N, P, 2]');
    await expect(predictor.predict(embedded, { boxes: [1, 2, 3] })).rejects.toThrow('boxes [4] or [N, 4]');
    await expect(predictor.predict(embedded, { points: [[[[1, 2]]]] as never })).rejects.toThrow(
      'expected points of 2 or 3',
    );
    expect(tf.memory().numTensors).toBe(before);
    embedded.embedding.dispose();
  });
});
