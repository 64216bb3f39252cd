import { fileURLToPath } from 'node:url';
import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import { loadWeights, type RawTensor, readSafetensors, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeMasks, encodeImage, encodePrompts, parseSamConfig, positionGrid } from '../src/index.ts';

/** Against segment-anything's own outputs for a small random SAM: see fixtures/README.md. */
const folder = fileURLToPath(new URL('fixtures/sam-tiny/', import.meta.url));
const config = parseSamConfig({
  imageSize: 128,
  patchSize: 16,
  heads: 4,
  headWidth: 12,
  windowSize: 3,
  globalBlocks: [1, 3],
  decoderHeads: 4,
});
let backend: WebgpuBackend;
let weights: Weights;
let io: Record<string, RawTensor>;
const tensor = (name: string): tf.Tensor => tf.tensor(io[name]!.data, [...io[name]!.shape], 'float32');

/** Largest difference, as a share of the reference's range. */
async function relativeError(actual: tf.Tensor, name: string): Promise<number> {
  const reference = io[name]!;
  expect(actual.shape).toEqual(reference.shape);
  const values = await actual.data();
  let [low, high, worst] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
  reference.data.forEach((value, i) => {
    low = Math.min(low, value);
    high = Math.max(high, value);
    const difference = Math.abs(value - values[i]!);
    worst = difference <= worst ? worst : difference;
  });
  return worst / (high - low);
}

beforeAll(async () => {
  backend = await useWebgpu();
  ({ weights } = await loadWeights(`${folder}model.safetensors`));
  io = (await readSafetensors(`${folder}io.safetensors`)).tensors;
});
afterAll(() => backend.dispose());

describe('image encoder', () => {
  it('gives the blocks and the embedding of segment-anything', async () => {
    const taps = [0, 1, 2, 3].map((i) => `blocks.${i}`);
    const features = encodeImage(weights, config, tensor('preprocessed') as tf.Tensor4D, { taps });
    for (const i of [0, 1, 2, 3])
      expect(await relativeError(features.taps[`blocks.${i}`]!, `block_${i}`)).toBeLessThan(1e-4);
    expect(await relativeError(features.embedding, 'image_embedding')).toBeLessThan(1e-4);
  });
});

describe('prompt encoder and mask decoder', () => {
  it('gives the positional encoding', async () => {
    expect(await relativeError(positionGrid(weights, config), 'dense_pe')).toBeLessThan(1e-4);
  });

  it.each(['point', 'points', 'box', 'points_box', 'points_mask', 'mask'])('decodes %s', async (mix) => {
    const toInput = [128 / 117, 98 / 90]; // x and y: the image of 117 x 90 pixels is resized to 128 x 98
    const points = tf.mul(tf.expandDims(tensor('points'), 0), toInput);
    const labels = tf.expandDims(tensor('labels'), 0);
    const first = mix === 'point';
    const { sparse, dense } = encodePrompts(weights, config, {
      ...(mix.includes('point') && {
        points: first ? tf.slice(points, [0, 0, 0], [1, 1, 2]) : points,
        labels: first ? tf.slice(labels, [0, 0], [1, 1]) : labels,
      }),
      ...(mix.includes('box') && { boxes: tf.mul(tf.reshape(tensor('box'), [1, 4]), [...toInput, ...toInput]) }),
      ...(mix.includes('mask') && { masks: tensor('mask_input') }),
    });
    if (mix !== 'mask') expect(await relativeError(sparse, `${mix}.sparse`)).toBeLessThan(1e-3);
    expect(await relativeError(dense, `${mix}.dense`)).toBeLessThan(1e-3);
    const embedding = tensor('image_embedding') as tf.Tensor4D;
    for (const [name, multimask] of [
      ['multi', true],
      ['single', false],
    ] as const) {
      const { masks, scores } = decodeMasks(weights, config, { embedding, sparse, dense, multimask });
      expect(await relativeError(masks, `${mix}.${name}.low_res_masks`)).toBeLessThan(1e-3);
      const reference = io[`${mix}.${name}.iou_predictions`]!;
      expect(scores.shape).toEqual(reference.shape);
      const values = await scores.data();
      reference.data.forEach((value, i) =>
        expect(Math.abs(value - values[i]!)).toBeLessThan(1e-3 * Math.max(1, Math.abs(value))),
      );
    }
  });
});
