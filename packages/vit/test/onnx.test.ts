import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import * as ort from 'onnxruntime-node';
import { beforeAll, describe, expect, it } from 'vitest';
import { fitLongestSide } from '../src/images/resize.ts';
import { decodeMasks, encodeImage, encodePrompts, type Sam } from '../src/index.ts';
import { upsampleMasks } from '../src/masks/upsample-masks.ts';
import { exportOnnx } from '../src/onnx/index.ts';
import { floats, halved, inputOf, largestDifference, runModel, withFolder } from './onnx-support.ts';
import { type Fixture, readSlimsamObject, readTiny, tensorOf, tinyConfig } from './support.ts';

/** Exported models in onnxruntime against segment-anything's own outputs for a small random SAM, and against this package's. */
const folder = withFolder('onnx-');
let tiny: Fixture;
let sam: Sam;
beforeAll(async () => {
  tiny = await readTiny();
  sam = { weights: tiny.weights, config: tinyConfig };
  await exportOnnx(folder(), sam);
  await exportOnnx(folder(), sam, { dtype: 'F16' });
});

/**
 * float32 sums in another order differ by some 1e-6 here. float16 has steps of 5e-4 of a value; through the four blocks, the decoder and its
 * products they come to about 2e-3 of the masks' and scores' size, which is near 1.
 */
const types = [
  ['F32', '', 1e-5],
  ['F16', '_fp16', 5e-3],
] as const;

/** The fixture's prompts as SamOnnxModel wants them: in pixels of the resized image, a padding point where there is no box. */
function promptsOf(mix: string): Record<string, ort.Tensor> {
  const scale = [128 / 117, 98 / 90];
  const places = [...tiny.io.points!.data].slice(0, mix === 'point' ? 2 : 4);
  const points = mix.includes('point') ? places : [];
  const labels = mix.includes('point') ? [...tiny.io.labels!.data].slice(0, places.length / 2) : [];
  const [corners, kinds] = mix.includes('box') ? [[...tiny.io.box!.data], [2, 3]] : [[], []];
  const padding = mix.includes('point') && !mix.includes('box');
  const all = [...points, ...corners].map((value, i) => value * scale[i % 2]!);
  const kindsOfAll = [...labels, ...kinds, ...(padding ? [-1] : [])];
  return {
    point_coords: floats([...all, ...(padding ? [0, 0] : [])], [1, kindsOfAll.length, 2]),
    point_labels: floats(kindsOfAll, [1, kindsOfAll.length]),
    mask_input: mix.includes('mask') ? inputOf(tiny, 'mask_input') : floats(new Array(1024).fill(7), [1, 1, 32, 32]),
    has_mask_input: floats([mix.includes('mask') ? 1 : 0], [1]),
    orig_im_size: floats([90, 117], [2]),
  };
}

describe.each(types)("segment-anything's convention in %s", (_, suffix, tolerance) => {
  it('gives the embedding of segment-anything, one by one and in a batch', async () => {
    const image = inputOf(tiny, 'preprocessed');
    const path = join(folder(), `encoder${suffix}.onnx`);
    const { image_embeddings: one } = await runModel(path, { image });
    expect(one!.dims).toEqual([1, 32, 8, 8]);
    const expected = tiny.io.image_embedding!.data;
    expect(largestDifference(one!.data, expected)).toBeLessThan(tolerance);
    const pixels = [...(image.data as Float32Array)];
    const two = floats([...pixels.map((value) => -value), ...pixels], [2, 3, 128, 128]);
    const { image_embeddings: both } = await runModel(path, { image: two });
    expect(both!.dims).toEqual([2, 32, 8, 8]);
    expect(largestDifference(both!.data.slice(expected.length), expected)).toBeLessThan(tolerance);
  });

  it.each([
    [2, 300],
    [300, 1],
  ])('decodes an image of %i x %i, whose short side rounds to nothing, as predict does', async (height, width) => {
    const { masks } = await runModel(join(folder(), `decoder${suffix}.onnx`), {
      image_embeddings: inputOf(tiny, 'image_embedding'),
      ...promptsOf('point'),
      orig_im_size: floats([height, width], [2]),
    });
    expect(masks!.dims).toEqual([1, 4, height, width]);
    const resized = fitLongestSide({ height, width }, 128);
    const ours = upsampleMasks(tensorOf(tiny, 'point.multi.low_res_masks') as tf.Tensor4D, {
      inputSize: [resized.height, resized.width],
      originalSize: [height, width],
      imageSize: 128,
    });
    const multi = masks!.data.slice(height * width) as Float32Array;
    expect(largestDifference(multi, await ours.data())).toBeLessThan(tolerance * 10);
  });

  it.each(['point', 'points', 'box', 'points_box', 'points_mask', 'mask'])('decodes %s', async (mix) => {
    const outputs = await runModel(join(folder(), `decoder${suffix}.onnx`), {
      image_embeddings: inputOf(tiny, 'image_embedding'),
      ...promptsOf(mix),
    });
    expect(outputs.masks!.dims).toEqual([1, 4, 90, 117]);
    expect(outputs.low_res_masks!.dims).toEqual([1, 4, 32, 32]);
    expect(outputs.iou_predictions!.dims).toEqual([1, 4]);
    for (const [name, first, count] of [
      ['single', 0, 1],
      ['multi', 1, 3],
    ] as const) {
      const cut = (tensor: ort.Tensor) => {
        const size = tensor.data.length / 4;
        return tensor.data.slice(first * size, (first + count) * size) as Float32Array;
      };
      const reference = (value: string) => tiny.io[`${mix}.${name}.${value}`]?.data;
      expect(largestDifference(cut(outputs.low_res_masks!), reference('low_res_masks')!)).toBeLessThan(tolerance);
      expect(largestDifference(cut(outputs.iou_predictions!), reference('iou_predictions')!)).toBeLessThan(tolerance);
      // of ten of the twelve the fixture keeps every 8th row and column
      const kept = ['masks_logits', 'masks_logits_every_8th'].find((value) => reference(value))!;
      const step = kept === 'masks_logits' ? 1 : 8;
      const full = cut(outputs.masks!).filter(
        (_, i) => (i % 117) % step === 0 && (Math.floor(i / 117) % 90) % step === 0,
      );
      expect(largestDifference(full, reference(kept)!)).toBeLessThan(tolerance);
    }
  });

  it('loads with the names and types of SamOnnxModel', async () => {
    const session = await ort.InferenceSession.create(join(folder(), `decoder${suffix}.onnx`));
    const ports = (list: readonly ort.InferenceSession.ValueMetadata[]) =>
      list.map((port) => [port.name, port.isTensor && port.type, port.isTensor && port.shape]);
    expect(ports(session.inputMetadata)).toEqual([
      ['image_embeddings', 'float32', [1, 32, 8, 8]],
      ['point_coords', 'float32', ['prompts', 'points', 2]],
      ['point_labels', 'float32', ['prompts', 'points']],
      ['mask_input', 'float32', ['mask_prompts', 1, 32, 32]],
      ['has_mask_input', 'float32', [1]],
      ['orig_im_size', 'float32', [2]],
    ]);
    expect(ports(session.outputMetadata)).toEqual([
      ['masks', 'float32', ['prompts', 4, 'height', 'width']],
      ['iou_predictions', 'float32', ['prompts', 4]],
      ['low_res_masks', 'float32', ['prompts', 4, 32, 32]],
    ]);
    await session.release();
  });
});

it('decodes several prompts at once as one by one, each with its own mask', async () => {
  const path = join(folder(), 'decoder.onnx');
  const image_embeddings = inputOf(tiny, 'image_embedding');
  const one = promptsOf('points_mask');
  const twice = (tensor: ort.Tensor, change: (value: number) => number) => {
    const values = [...(tensor.data as Float32Array)];
    return floats([...values.map(change), ...values], [2, ...tensor.dims.slice(1)]);
  };
  const outputs = await runModel(path, {
    ...one,
    image_embeddings,
    point_coords: twice(one.point_coords!, (value) => value + 9),
    point_labels: twice(one.point_labels!, (value) => value),
    mask_input: twice(one.mask_input!, (value) => -value),
  });
  expect(outputs.masks!.dims).toEqual([2, 4, 90, 117]);
  const last = outputs.low_res_masks!.data.slice(5 * 1024);
  expect(largestDifference(last, tiny.io['points_mask.multi.low_res_masks']!.data)).toBeLessThan(1e-5);
});

describe('with singleMask', () => {
  const single = () => join(folder(), 'single');
  beforeAll(() => exportOnnx(single(), sam, { singleMask: true }));

  it.each([
    ['points', 'single'], // three points with the padding: the mask for several clicks
    ['point', 'multi'], // two: the best of the three others
    ['box', 'multi'],
  ])('selects for %s the mask of SamOnnxModel', async (mix, name) => {
    const outputs = await runModel(join(single(), 'decoder.onnx'), {
      image_embeddings: inputOf(tiny, 'image_embedding'),
      ...promptsOf(mix),
    });
    const scores = [...tiny.io[`${mix}.${name}.iou_predictions`]!.data];
    const best = scores.indexOf(Math.max(...scores));
    const masks = tiny.io[`${mix}.${name}.low_res_masks`]!.data;
    expect(outputs.masks!.dims).toEqual([1, 1, 90, 117]);
    expect(largestDifference(outputs.iou_predictions!.data, [scores[best]!])).toBeLessThan(1e-5);
    const expected = masks.slice(best * 1024, (best + 1) * 1024);
    expect(largestDifference(outputs.low_res_masks!.data, expected)).toBeLessThan(1e-5);
  });
});

describe('pruned models', () => {
  const models: [string, () => Promise<{ sam: Sam; image: tf.Tensor4D }>][] = [
    [
      'half of the channels, by other shares in every block',
      async () => ({ sam: halved(sam), image: tensorOf(tiny, 'preprocessed') as tf.Tensor4D }),
    ],
    [
      'a globally pruned SlimSAM',
      async () => {
        const fixture = await readSlimsamObject();
        return { sam: fixture, image: tensorOf(fixture, 'preprocessed') as tf.Tensor4D };
      },
    ],
  ];
  it.each(models)("%s: the embedding, masks and scores are this package's", async (_, make) => {
    const { sam, image } = await make();
    const { weights, config } = sam;
    const S = config.imageSize;
    const side = (4 * S) / config.patchSize;
    const { embedding } = encodeImage(weights, config, image);
    const points = tf.tensor3d([S / 3, S / 2, S / 4, S / 5], [1, 2, 2]);
    const labels = tf.tensor2d([1, 0], [1, 2]);
    const masks = tf.randomNormal<tf.Rank.R4>([1, 1, side, side], 0, 3, 'float32', 5);
    const features = encodePrompts(weights, config, { points, labels, masks });
    const expected = decodeMasks(weights, config, { embedding, ...features, multimask: true });
    const sizes = { inputSize: [S, S / 2], originalSize: [78, 39], imageSize: S } as const;
    const full = upsampleMasks(expected.masks, sizes);

    for (const [dtype, suffix, tolerance] of types) {
      const [encoder, decoder] = await exportOnnx(folder(), sam, { dtype });
      expect(encoder).toBe(join(folder(), `encoder${suffix}.onnx`));
      const { image_embeddings } = await runModel(encoder!, { image: floats(await image.data(), image.shape) });
      const range = largestDifference(await embedding.data(), new Float32Array(embedding.size));
      expect(largestDifference(image_embeddings!.data, await embedding.data()) / range).toBeLessThan(tolerance);
      const outputs = await runModel(decoder!, {
        image_embeddings: floats(await embedding.data(), embedding.shape),
        point_coords: floats([...(await points.data()), 0, 0], [1, 3, 2]),
        point_labels: floats([1, 0, -1], [1, 3]),
        mask_input: floats(await masks.data(), masks.shape),
        has_mask_input: floats([1], [1]),
        orig_im_size: floats(sizes.originalSize, [2]),
      });
      for (const [name, tensor] of [
        ['low_res_masks', expected.masks],
        ['iou_predictions', expected.scores],
        ['masks', full],
      ] as const) {
        const values = await tensor.data();
        const got = outputs[name]!.data.slice(outputs[name]!.data.length / 4) as Float32Array;
        const size = largestDifference(values, new Float32Array(values.length));
        expect(largestDifference(got, values) / size).toBeLessThan(tolerance);
      }
    }
  });
});
