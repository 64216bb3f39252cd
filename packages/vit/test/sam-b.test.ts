import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { disposeWeights, type Progress, readSafetensors, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { resizeLongestSide } from '../src/images/resize.ts';
import { createPredictor, loadSam, type RgbImage, samPresets, saveSam } from '../src/index.ts';
import { formulaImage, formulaValues, formulaWeights, shapesOf } from './formula.ts';
import { type Fixture, fixturePath, relativeError, withWebgpu } from './support.ts';

/** SAM-B at its real size against segment-anything (PyTorch on a CPU); about a minute, nearly all of it the encoder on a CPU. */
withWebgpu();
const { config } = samPresets['sam-vit-base'];
const shapes = shapesOf(samPresets['sam-vit-base']);
let fixture: Fixture;
let image: RgbImage;
let folder: string;
beforeAll(async () => {
  const { tensors } = await readSafetensors(fixturePath('sam-b-formula/io.safetensors'));
  fixture = { weights: formulaWeights(shapes), io: tensors };
  image = formulaImage({ width: 1500, height: 1000 });
  folder = await mkdtemp(join(tmpdir(), 'sam-b-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Every n-th value along each of the last axes. */
function everyNth(x: tf.Tensor, steps: number[]): tf.Tensor {
  return tf.stridedSlice(
    x,
    steps.map(() => 0),
    x.shape,
    steps,
  );
}

it('resizes the image as Pillow does', () => {
  const { width, height, data } = resizeLongestSide(image, config.imageSize);
  expect([width, height]).toEqual([1024, 683]);
  expect([...data.subarray(300 * 1024 * 3, 301 * 1024 * 3)]).toEqual([...fixture.io.resized_row_300!.data]);
});

it('gives the image embedding, the masks and the scores of segment-anything', { timeout: 600_000 }, async () => {
  const predictor = createPredictor(fixture.weights, config);
  const embedded = predictor.embed(image);
  const { embedding } = embedded;
  const within = async (actual: tf.Tensor, name: string) =>
    expect(await relativeError(tf.reshape(actual, fixture.io[name]!.shape), fixture, name)).toBeLessThan(1e-3);
  await within(everyNth(tf.reshape(embedding, [-1]), [64]), 'image_embedding_every_64th');
  const { mean, variance } = tf.moments(tf.reshape(embedding, [256, 64 * 64]), 1);
  await within(mean, 'image_embedding_channel_mean');
  await within(tf.sqrt(variance), 'image_embedding_channel_std');
  const { lowRes, scores } = await predictor.predict(embedded, { points: [[500, 375]] });
  await within(everyNth(tf.squeeze(lowRes, [0]), [1, 4, 4]), 'low_res_masks_every_4th');
  await within(tf.tensor(scores), 'iou_predictions');
});

/** Expects the values of the formula, bit for bit. */
async function expectFormula(weights: Weights): Promise<void> {
  expect(Object.keys(weights)).toEqual(Object.keys(shapes));
  for (const [name, shape] of Object.entries(shapes)) {
    const [actual, expected] = [await weights[name]!.data(), formulaValues(name, shape)];
    expect(
      Buffer.compare(Buffer.from(actual.buffer, actual.byteOffset, actual.byteLength), Buffer.from(expected.buffer)),
    ).toBe(0);
  }
}

it('survives the way to a file and back, each byte read once, with one tensor at a time beside the weights', {
  timeout: 600_000,
}, async () => {
  const path = join(folder, 'sam-b.safetensors');
  await saveSam(path, { weights: fixture.weights, config });
  disposeWeights(fixture.weights);
  const { size } = await stat(path);
  expect(size).toBeGreaterThan(374e6);

  const start = process.memoryUsage().arrayBuffers;
  let most = 0;
  const readings: number[] = []; // bytes read so far
  const onProgress = ({ loaded }: Progress) => {
    readings.push(loaded);
    most = Math.max(most, process.memoryUsage().arrayBuffers - start);
  };
  const loaded = await loadSam(path, { check: true, onProgress });
  const largest = 4 * 64 * 64 * 768; // the position embedding, bytes
  expect(most).toBeLessThan(size + largest);
  // how long that takes beside a plain read is measured by bench/load-sam.ts: a busy machine would decide a test of it
  expect(readings.at(-1)).toBe(size);
  expect(readings.at(-2), 'a second reading of some bytes').toBeLessThan(size);
  expect(loaded.config).toEqual(config);
  await expectFormula(loaded.weights);
  disposeWeights(loaded.weights);
});
