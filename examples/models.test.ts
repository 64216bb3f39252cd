import { fileURLToPath } from 'node:url';
import { loadSam } from '@slimsam/vit';
import { disposeWeights } from '@slimsam/weights';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';

test('models/sam-s is whole: both of its files open as one SAM', async () => {
  await tf.setBackend('cpu');
  const { weights, config } = await loadSam(fileURLToPath(new URL('../models/sam-s', import.meta.url)));
  expect(config).toMatchObject({ imageSize: 448, patchSize: 14, heads: 6, decoderHeads: 4 });
  expect(config.globalBlocks).toHaveLength(12);
  const size = (test: (name: string) => boolean) =>
    Object.entries(weights).reduce((sum, [name, weight]) => sum + (test(name) ? weight.size : 0), 0);
  expect(size((name) => /^image_encoder\.(?!neck)/.test(name))).toBeGreaterThan(21e6);
  expect(size((name) => !/^image_encoder\.(?!neck)/.test(name))).toBeGreaterThan(1.1e6);
  for (const name of ['image_encoder.blocks.11.mlp.lin2.weight', 'mask_decoder.iou_token.weight']) {
    const values = await weights[name]!.data();
    expect(values.every(Number.isFinite)).toBe(true);
    expect(values.some((value) => Math.abs(value) > 0.01)).toBe(true);
  }
  disposeWeights(weights);
});

test.each([
  ['sam-s-slim50', 5.8e6, [768, 192]],
  ['sam-s-slim77', 1.3e6, [352, 88]],
])('models/%s is whole, and as narrow as its card says', async (name, parameters, [mlp, embed]) => {
  await tf.setBackend('cpu');
  const { weights, config } = await loadSam(
    fileURLToPath(new URL(`../models/${name}/model.safetensors`, import.meta.url)),
  );
  expect(config).toMatchObject({ imageSize: 448, patchSize: 14, heads: 6, headWidth: 64, decoderHeads: 4 });
  expect(weights['image_encoder.blocks.11.mlp.lin1.weight']!.shape).toEqual([mlp, embed]);
  const encoder = Object.entries(weights).filter(([weight]) => weight.startsWith('image_encoder.'));
  expect(Math.abs(encoder.reduce((sum, [, { size }]) => sum + size, 0) / parameters - 1)).toBeLessThan(0.05);
  for (const [, weight] of encoder) expect((await weight.data()).every(Number.isFinite)).toBe(true);
  disposeWeights(weights);
});
