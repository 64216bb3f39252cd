import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { createPredictor } from '../src/index.ts';
import { upsampleMasks } from '../src/masks/upsample-masks.ts';
import { imageOf, readTiny, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();

it.each([
  [
    [90, 117],
    [98, 128],
  ],
  [
    [3, 200],
    [2, 128],
  ],
  [
    [301, 77],
    [128, 33],
  ],
] as const)('rows of masks in the size %s are those of the whole', async (originalSize, inputSize) => {
  const masks = tf.randomNormal([2, 3, 32, 32], 0, 5, 'float32', 1) as tf.Tensor4D;
  const sizes = { inputSize, originalSize, imageSize: 128 };
  const whole = upsampleMasks(masks, sizes);
  const [height, width] = originalSize;
  const values = await whole.data();
  for (const [from, to] of [
    [0, height],
    [0, 1],
    [height - 1, height],
    [Math.floor(height / 3), height - 1],
  ] as const) {
    const band = upsampleMasks(masks, { ...sizes, rows: [from, to] });
    expect(band.shape).toEqual([2, 3, to - from, width]);
    const wanted = tf.slice(whole, [0, 0, from, 0], [2, 3, to - from, width]);
    const [worst] = await tf.max(tf.abs(tf.sub(band, wanted))).data();
    // places up to 128 are rounded three times in float32, by 8e-6 each, and neighbours differ by less than 5 logits
    expect(worst).toBeLessThan(1.2e-4);
  }
  expect(values.some((value) => value > 1)).toBe(true);
});

it('an image of 34 million pixels is answered a band at a time', async () => {
  const tiny = await readTiny();
  const predictor = createPredictor(tiny.weights, tinyConfig);
  const { embedding } = predictor.embed(imageOf(tiny));
  // llvmpipe, like WebGPU's defaults, binds 128 MiB at most: 33.5 million floats
  const image = { embedding, originalSize: [5800, 5800], inputSize: [128, 128] } as const;
  const prompt = { points: [[3000, 2000]] };
  const { masks, stabilityScores, lowRes } = await predictor.predict(image, prompt, { multimask: false });
  const small = { embedding, originalSize: [58, 58], inputSize: [128, 128] } as const;
  const reduced = await predictor.predict(small, { points: [[30, 20]] }, { multimask: false, logits: true });
  let [different, sure] = [0, 0];
  reduced.logits![0]![0]!.forEach((logit, i) => {
    if (Math.abs(logit) < 0.05) return; // a pixel here is 100 x 100 there
    const [x, y] = [i % 58, Math.floor(i / 58)];
    sure++;
    if (masks[0]![0]![(100 * y + 50) * 5800 + 100 * x + 50] !== Number(logit > 0)) different++;
  });
  expect(sure).toBeGreaterThan(1000);
  expect(different).toBeLessThan(sure / 50);
  expect(stabilityScores[0]![0]).toBeCloseTo(reduced.stabilityScores[0]![0]!, 1);
  tf.dispose([embedding, lowRes, reduced.lowRes]);
});
