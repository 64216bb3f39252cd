import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import {
  createPredictor,
  decodeImage,
  initSam,
  initVit,
  labelMap,
  loadSam,
  loadVit,
  parseVitConfig,
  preprocessVit,
  samPresets,
  saveSam,
  saveVit,
  segmentEverything,
  vitFeatures,
} from '@slimsam/vit';
import { exportOnnx } from '@slimsam/vit/onnx';

test('vit: a random SAM answers a point, and everything, with masks in the size of the image', async () => {
  const backend = await useWebgpu();
  try {
    const { config, sizes } = samPresets.tiny;
    await saveSam('sam', { weights: initSam(config, sizes, { seed: 1 }), config }, { names: 'hugging-face' });
    const sam = await loadSam('sam');
    const predictor = createPredictor(sam.weights, sam.config);
    const image = { width: 40, height: 24, data: new Uint8Array(40 * 24 * 3).map((_, i) => (i * 7) % 256) };
    const { masks, scores } = await predictor.predict(predictor.embed(image), { points: [[20, 12]] });
    assert.equal(masks[0]?.length, 3);
    assert.equal(masks[0]?.[0]?.length, 40 * 24);
    assert.ok(scores[0]?.every(Number.isFinite));
    const lenient = { pointsPerSide: 2, predIouThresh: 0, stabilityScoreThresh: 0 };
    const everything = await segmentEverything(sam.weights, sam.config, image, lenient);
    assert.ok(everything.length > 0);
    assert.equal(labelMap(everything, image).length, 40 * 24);
    const [encoder] = await exportOnnx('onnx', sam);
    assert.ok(encoder && (await readFile(encoder)).includes('image_encoder.blocks.0.attn.qkv.weight'));
  } finally {
    backend.dispose();
  }
});

test('vit: a plain ViT is saved, loaded and gives finite features', async () => {
  const backend = await useWebgpu();
  try {
    const config = parseVitConfig({ imageSize: [16, 24], heads: 2, headWidth: 4 });
    const weights = initVit(config, { depth: 1, mlpWidth: 8, patchSize: 8 }, { seed: 1 });
    await saveVit('vit.safetensors', { weights, config });
    const vit = await loadVit('vit.safetensors');
    const image = { width: 40, height: 24, data: new Uint8Array(40 * 24 * 3).map((_, i) => (i * 7) % 256) };
    const { tokens, embedding } = vitFeatures(vit.weights, vit.config, preprocessVit(image, vit.config));
    assert.deepEqual(tokens.shape, [1, 7, 8]);
    assert.deepEqual(embedding.shape, [1, 8, 2, 3]);
    assert.ok((await tokens.data()).every(Number.isFinite));
  } finally {
    backend.dispose();
  }
});

test('vit: an image is decoded from its bytes', async () => {
  const gif = Buffer.from('R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=', 'base64'); // one white pixel
  assert.deepEqual(await decodeImage(gif), { width: 1, height: 1, data: new Uint8Array([255, 255, 255]) });
});
