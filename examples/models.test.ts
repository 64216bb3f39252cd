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
