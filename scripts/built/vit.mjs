import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { createPredictor, initSam, labelMap, loadSam, parseSamConfig, saveSam, segmentEverything } from '@slimsam/vit';
import { exportOnnx } from '@slimsam/vit/onnx';

test('vit: a random SAM answers a point, and everything, with masks in the size of the image', async () => {
  const backend = await useWebgpu();
  try {
    const config = parseSamConfig({
      ...{ imageSize: 32, patchSize: 16, heads: 2, headWidth: 4 },
      ...{ windowSize: 2, globalBlocks: [0], decoderHeads: 2 },
    });
    const sizes = {
      ...{ width: 8, depth: 1, mlpWidth: 16, promptWidth: 16 },
      ...{ maskChannels: 4, decoderMlpWidth: 16, iouHiddenWidth: 16 },
    };
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
