import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AutoProcessor, env, RawImage, SamModel, type SamProcessor, Tensor } from '@huggingface/transformers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { resizeLongestSide } from '../src/images/index.ts';
import { createPredictor, preprocess, type Sam } from '../src/index.ts';
import { exportOnnx } from '../src/onnx/index.ts';
import { halved, largestDifference, withFolder } from './onnx-support.ts';
import { type Fixture, imageOf, readTiny, tinyConfig } from './support.ts';

/** Exported folders in transformers.js, which sees no network here, against segment-anything's outputs and this package's. */
env.allowRemoteModels = false;
const folder = withFolder('onnx-transformers-');
const local = { local_files_only: true } as const;
let tiny: Fixture;
let sam: Sam;
let image: RawImage;
beforeAll(async () => {
  tiny = await readTiny();
  sam = { weights: tiny.weights, config: tinyConfig };
  const { data, width, height } = imageOf(tiny);
  image = new RawImage(data, width, height, 3);
  await exportOnnx(folder(), sam, { convention: 'transformers.js' });
  await exportOnnx(folder(), sam, { convention: 'transformers.js', dtype: 'F16' });
});

const points = (): number[][] => [0, 2].map((i) => [...tiny.io.points!.data.slice(i, i + 2)]);
const corners = (): number[][] => [0, 2].map((i) => [...tiny.io.box!.data.slice(i, i + 2)]);
const given = (name: string) => {
  const { data, shape } = tiny.io[name]!;
  return new Tensor('float32', Float32Array.from(data), shape);
};
const openProcessor = async (path: string) => (await AutoProcessor.from_pretrained(path, local)) as SamProcessor;
/** Runs a model and lets go of its sessions. */
async function withModel<T>(path: string, dtype: 'fp32' | 'fp16', use: (model: SamModel) => Promise<T>): Promise<T> {
  const model = (await SamModel.from_pretrained(path, { ...local, dtype })) as SamModel;
  try {
    return await use(model);
  } finally {
    await model.dispose();
  }
}

/** As in onnx.test.ts. */
const types = [
  ['fp32', 1e-5],
  ['fp16', 5e-3],
] as const;

describe.each(types)('SamModel of the folder in %s', (dtype, tolerance) => {
  it('gives the embeddings, and masks and scores of points and boxes, of segment-anything', async () => {
    const processor = await openProcessor(folder());
    await withModel(folder(), dtype, async (model) => {
      const embeddings = await model.get_image_embeddings({ pixel_values: given('preprocessed') });
      expect(embeddings.image_embeddings.dims).toEqual([1, 32, 8, 8]);
      const { data: embedding } = embeddings.image_embeddings;
      expect(largestDifference(embedding, tiny.io.image_embedding!.data)).toBeLessThan(tolerance);
      expect(embeddings.image_positional_embeddings.dims).toEqual([1, 32, 8, 8]);
      const { data: positions } = embeddings.image_positional_embeddings;
      expect(largestDifference(positions, tiny.io.dense_pe!.data)).toBeLessThan(tolerance);
      const labels = [...tiny.io.labels!.data];
      for (const [mix, input_points, input_labels] of [
        ['point', points().slice(0, 1), labels.slice(0, 1)],
        ['points', points(), labels],
        ['box', corners(), [2, 3]],
        ['points_box', [...points(), ...corners()], [...labels, 2, 3]],
      ] as const) {
        const inputs = await processor(image, { input_points: [[input_points]], input_labels: [[input_labels]] });
        const { pred_masks, iou_scores } = await model({ ...inputs, ...embeddings });
        expect(pred_masks.dims).toEqual([1, 1, 3, 32, 32]);
        expect(iou_scores.dims).toEqual([1, 1, 3]);
        const [masks, scores] = ['low_res_masks', 'iou_predictions'].map(
          (name) => tiny.io[`${mix}.multi.${name}`]!.data,
        );
        expect(largestDifference(pred_masks.data, masks!)).toBeLessThan(tolerance);
        expect(largestDifference(iou_scores.data, scores!)).toBeLessThan(tolerance);
      }
    });
  });
});

it('decodes two images with two prompts each, and leaves points labelled -10 out', async () => {
  await withModel(folder(), 'fp32', async (model) => {
    const pixels = given('preprocessed').data as Float32Array;
    const flipped = pixels.map((value) => -value);
    const pixel_values = new Tensor('float32', Float32Array.from([...flipped, ...pixels]), [2, 3, 128, 128]);
    const embeddings = await model.get_image_embeddings({ pixel_values });
    expect(embeddings.image_positional_embeddings.dims).toEqual([2, 32, 8, 8]);
    const scale = [128 / 117, 98 / 90];
    const places = points()
      .flat()
      .map((value, i) => value * scale[i % 2]!);
    const prompts = [places.toReversed(), places, places.map((value) => value / 2), places].flat();
    const labels = [...tiny.io.labels!.data].map((label) => BigInt(label));
    const four = [labels, labels, labels, labels].flat();
    const run = (input_labels: bigint[]) =>
      model({
        ...embeddings,
        input_points: new Tensor('float32', Float32Array.from(prompts), [2, 2, 2, 2]),
        input_labels: new Tensor('int64', BigInt64Array.from(input_labels), [2, 2, 2]),
      });
    const { pred_masks, iou_scores } = await run(four);
    expect(pred_masks.dims).toEqual([2, 2, 3, 32, 32]);
    const last = pred_masks.data.slice(3 * 3 * 1024);
    expect(largestDifference(last, tiny.io['points.multi.low_res_masks']!.data)).toBeLessThan(1e-5);
    expect(largestDifference(iou_scores.data.slice(9), tiny.io['points.multi.iou_predictions']!.data)).toBeLessThan(
      1e-5,
    );
    // transformers gives such a point a token of zeros, so that its place does not matter
    const ignoring = await run([...four.slice(0, 4), -10n, -10n, -10n, -10n]);
    const [third, fourth] = [6, 9].map((mask) => ignoring.pred_masks.data.slice(mask * 1024, (mask + 3) * 1024));
    expect(largestDifference(third!, fourth as Float32Array)).toBe(0);
    expect(
      largestDifference(
        ignoring.pred_masks.data.slice(0, 6 * 1024),
        pred_masks.data.slice(0, 6 * 1024) as Float32Array,
      ),
    ).toBe(0);
  });
});

const models: [string, () => Sam][] = [
  ['a SAM', () => sam],
  ['one with half of its channels, by other shares in every block', () => halved(sam)],
];
it.each(models)('%s: the whole way from an image to masks in its size is that of createPredictor', async (_, make) => {
  const made = make();
  const path = join(folder(), 'whole');
  await exportOnnx(path, made, { convention: 'transformers.js' });
  const processor = await openProcessor(path);
  const predictor = createPredictor(made.weights, made.config);
  const embedded = predictor.embed(imageOf(tiny));
  const labels = [...tiny.io.labels!.data];
  const expected = await predictor.predict(embedded, { points: points(), labels });
  const inputs = await processor(image, { input_points: [[points()]], input_labels: [[labels]] });
  expect(inputs.reshaped_input_sizes).toEqual([[98, 128]]);
  await withModel(path, 'fp32', async (model) => {
    // the same pixels: the same logits
    const same = await model({ ...inputs, pixel_values: given('preprocessed') });
    expect(largestDifference(same.pred_masks.data, await expected.lowRes.data())).toBeLessThan(1e-5);
    expect(largestDifference(same.iou_scores.data, expected.scores[0]!)).toBeLessThan(1e-5);
    // its own resizing is not Pillow's: pixels differ by up to a tenth of their range, masks at their edges
    const own = await model(inputs);
    const [masks] = await processor.post_process_masks(
      own.pred_masks,
      inputs.original_sizes,
      inputs.reshaped_input_sizes,
    );
    expect(masks!.dims).toEqual([1, 3, 90, 117]);
    const bits = masks!.data as Uint8Array;
    const ours = expected.masks[0]!.flatMap((mask) => [...mask]);
    const agreeing = ours.reduce((sum, bit, i) => sum + Number(bit === bits[i]), 0);
    expect(agreeing / bits.length).toBeGreaterThan(0.99);
  });
  tf.dispose([embedded.embedding, expected.lowRes]);
});

it('an image that @slimsam/vit/images resized has the pixels of Pillow there too; its own resizing of photographs has not', async () => {
  const processor = await openProcessor(folder());
  const [width, height] = [640, 421]; // five times as large as the model's square, and 84.2 rounds down in both
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 2_654_435_761) >>> 24);
  const photo = { width, height, data };
  const { pixels } = preprocess(photo, tinyConfig);
  const expected = await pixels.data<'float32'>();
  const small = resizeLongestSide(photo, tinyConfig.imageSize);
  const resized = await processor(new RawImage(small.data, small.width, small.height, 3));
  expect(resized.pixel_values.dims).toEqual([1, 3, 128, 128]);
  expect(largestDifference(resized.pixel_values.data, expected)).toBeLessThan(1e-6);
  // it takes one pixel in five, without the average that Pillow takes
  const own = await processor(new RawImage(data, width, height, 3));
  expect(largestDifference(own.pixel_values.data, expected)).toBeGreaterThan(0.3);
  pixels.dispose();
});

it('says in config.json what transformers reads, and of widths only those of every block', async () => {
  const json = async (path: string) => JSON.parse(await readFile(join(path, 'config.json'), 'utf8'));
  const whole = await json(folder());
  expect(whole.model_type).toBe('sam');
  expect(whole.vision_config).toMatchObject({ hidden_size: 48, mlp_dim: 192, image_size: 128 });
  expect('transformers.js_config' in whole).toBe(false);
  const path = join(folder(), 'pruned');
  await exportOnnx(path, halved(sam), { convention: 'transformers.js', externalDataFrom: 150_000 });
  const pruned = await json(path);
  expect(pruned.vision_config).toMatchObject({ hidden_size: 24, image_size: 128 });
  expect('mlp_dim' in pruned.vision_config || 'mlp_ratio' in pruned.vision_config).toBe(false);
  // whichever type is exported, the entries serve both
  expect(pruned['transformers.js_config']).toEqual({
    use_external_data_format: {
      'vision_encoder.onnx': 1,
      'prompt_encoder_mask_decoder.onnx': 1,
      'vision_encoder_fp16.onnx': 1,
    },
  });
  const pixel_values = given('preprocessed');
  const run = (model: SamModel) => model.get_image_embeddings({ pixel_values });
  const [beside, inside] = [await withModel(path, 'fp32', run), await withModel(join(folder(), 'whole'), 'fp32', run)];
  const expected = inside.image_embeddings.data as Float32Array;
  expect(largestDifference(beside.image_embeddings.data, expected)).toBe(0);
});
