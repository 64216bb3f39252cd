import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeMasks, encodeImage, encodePrompts } from '../src/index.ts';
import { upsampleMasks } from '../src/masks/upsample-masks.ts';
import { positionGrid } from '../src/sam/prompt-encoder.ts';
import {
  type Fixture,
  readSlimsamObject,
  readTiny,
  relativeError,
  tensorOf,
  tinyConfig,
  withWebgpu,
} from './support.ts';

/** Against segment-anything's own outputs for a small random SAM. */
withWebgpu();
let tiny: Fixture;
beforeAll(async () => {
  tiny = await readTiny();
});

describe('image encoder', () => {
  it('gives the blocks and the embedding of segment-anything', async () => {
    const taps = [0, 1, 2, 3].map((i) => `blocks.${i}`);
    const image = tensorOf(tiny, 'preprocessed') as tf.Tensor4D;
    const features = encodeImage(tiny.weights, tinyConfig, image, { taps });
    for (const i of [0, 1, 2, 3]) {
      expect(await relativeError(features.taps[`blocks.${i}`]!, tiny, `block_${i}`)).toBeLessThan(1e-4);
    }
    expect(await relativeError(features.embedding, tiny, 'image_embedding')).toBeLessThan(1e-4);
  });

  it('encodes images of a batch as it does one by one', async () => {
    const image = tensorOf(tiny, 'preprocessed') as tf.Tensor4D;
    const batch = tf.concat([tf.mul(image, -1), image]) as tf.Tensor4D;
    const { embedding } = encodeImage(tiny.weights, tinyConfig, batch);
    const second = tf.slice(embedding, [1, 0, 0, 0], [1, -1, -1, -1]);
    expect(await relativeError(second, tiny, 'image_embedding')).toBeLessThan(1e-4);
  });

  it('names an unknown tap, a missing weight and an image of another size', () => {
    const image = tf.zeros([1, 3, 128, 128]) as tf.Tensor4D;
    expect(() => encodeImage(tiny.weights, tinyConfig, image, { taps: ['blocks.9'] })).toThrow(
      /patch_embed.*'blocks.9'/,
    );
    expect(() => encodeImage(tiny.weights, tinyConfig, tf.zeros([1, 3, 64, 128]))).toThrow(
      'expected image [B, 3, 128, 128], got [1,3,64,128]',
    );
    const { 'image_encoder.neck.0.weight': _, ...rest } = tiny.weights;
    expect(() => encodeImage(rest, tinyConfig, image)).toThrow("expected weight 'image_encoder.neck.0.weight'");
    expect(() => encodeImage(tiny.weights, { ...tinyConfig, windowSize: 4 }, image)).toThrow(
      'relativePositions: expected table',
    );
  });
});

describe('prompt encoder and mask decoder', () => {
  it('gives the positional encoding', async () => {
    expect(await relativeError(positionGrid(tiny.weights, tinyConfig), tiny, 'dense_pe')).toBeLessThan(1e-4);
  });

  /** The fixture's prompts are in pixels of the image of 117 x 90, which is resized to 128 x 98. */
  const promptsOf = (mix: string) => {
    const toInput = [128 / 117, 98 / 90];
    const points = tf.mul(tf.expandDims(tensorOf(tiny, 'points'), 0), toInput);
    const labels = tf.expandDims(tensorOf(tiny, 'labels'), 0);
    const first = mix === 'point';
    return {
      ...(mix.includes('point') && {
        points: first ? tf.slice(points, [0, 0, 0], [1, 1, 2]) : points,
        labels: first ? tf.slice(labels, [0, 0], [1, 1]) : labels,
      }),
      ...(mix.includes('box') && {
        boxes: tf.mul(tf.reshape(tensorOf(tiny, 'box'), [1, 4]), [...toInput, ...toInput]),
      }),
      ...(mix.includes('mask') && { masks: tensorOf(tiny, 'mask_input') }),
    };
  };

  const everyEighth = (x: tf.Tensor) => tf.stridedSlice(x, [0, 0, 0, 0], x.shape, [1, 1, 8, 8]);

  it.each(['point', 'points', 'box', 'points_box', 'points_mask', 'mask'])('decodes %s', async (mix) => {
    const { sparse, dense } = encodePrompts(tiny.weights, tinyConfig, promptsOf(mix));
    expect(sparse.shape).toEqual(tiny.io[`${mix}.sparse`]!.shape);
    if (mix !== 'mask') expect(await relativeError(sparse, tiny, `${mix}.sparse`)).toBeLessThan(1e-3);
    expect(await relativeError(dense, tiny, `${mix}.dense`)).toBeLessThan(1e-3);
    const embedding = tensorOf(tiny, 'image_embedding') as tf.Tensor4D;
    for (const [name, multimask] of [
      ['multi', true],
      ['single', false],
    ] as const) {
      const { masks, scores } = decodeMasks(tiny.weights, tinyConfig, { embedding, sparse, dense, multimask });
      expect(await relativeError(masks, tiny, `${mix}.${name}.low_res_masks`)).toBeLessThan(1e-3);
      const reference = tiny.io[`${mix}.${name}.iou_predictions`]!;
      expect(scores.shape).toEqual(reference.shape);
      const values = await scores.data();
      // within 5e-5, and the predictions for three masks span 0.4 and more
      for (const [i, value] of reference.data.entries()) expect(values[i]).toBeCloseTo(value, 4);
      const logits = `${mix}.${name}.masks_logits`;
      const large = upsampleMasks(masks, { inputSize: [98, 128], originalSize: [90, 117], imageSize: 128 });
      // of ten of the twelve the fixture keeps every 8th row and column
      const [reduced, kept] = tiny.io[logits] ? [large, logits] : [everyEighth(large), `${logits}_every_8th`];
      expect(await relativeError(reduced, tiny, kept)).toBeLessThan(1e-3);
    }
  });

  it('decodes many prompts on one embedding as it does one by one', async () => {
    const one = promptsOf('points_mask');
    const { points, labels, masks } = { points: one.points!, labels: one.labels!, masks: one.masks! };
    const features = encodePrompts(tiny.weights, tinyConfig, {
      points: tf.concat([tf.add(points, 9), points]),
      labels: tf.concat([labels, labels]),
      masks: tf.concat([masks, masks]),
    });
    const embedding = tensorOf(tiny, 'image_embedding') as tf.Tensor4D;
    for (const given of [embedding, tf.concat([embedding, embedding])] as tf.Tensor4D[]) {
      const decoded = decodeMasks(tiny.weights, tinyConfig, { embedding: given, ...features, multimask: true });
      const second = tf.slice(decoded.masks, [1, 0, 0, 0], [1, -1, -1, -1]);
      expect(await relativeError(second, tiny, 'points_mask.multi.low_res_masks')).toBeLessThan(1e-3);
    }
  });
});

describe('a globally pruned SlimSAM, with other widths in every block', () => {
  it('gives the outputs of the reference', async () => {
    const pruned = await readSlimsamObject();
    const { weights, config } = pruned;
    const { embedding } = encodeImage(weights, config, tensorOf(pruned, 'preprocessed') as tf.Tensor4D);
    expect(await relativeError(embedding, pruned, 'image_embedding')).toBeLessThan(1e-4);
    const points = { points: tensorOf(pruned, 'points'), labels: tensorOf(pruned, 'labels') };
    const features = encodePrompts(weights, config, points);
    const { masks, scores } = decodeMasks(weights, config, { embedding, ...features, multimask: true });
    expect(await relativeError(masks, pruned, 'low_res_masks')).toBeLessThan(1e-3);
    expect(await relativeError(scores, pruned, 'iou_predictions')).toBeLessThan(1e-3);
  });
});
