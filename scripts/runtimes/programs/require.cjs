// CommonJS: every package by require, and a tiny SAM that answers a point
const assert = require('node:assert/strict');
const { useWebgpu } = require('@slimsam/tensor-webgpu');
const { createPredictor, initSam, samPresets } = require('@slimsam/vit');
for (const name of ['distill', 'eval', 'prune', 'scenes', 'weights'])
  assert.ok(Object.keys(require(`@slimsam/${name}`)).length > 1, name);
assert.equal(typeof require('slimsam').compress, 'function');
assert.equal(typeof require('slimsam/node').openPhotographs, 'function');
assert.ok(require('@slimsam/vit/package.json').version);

void (async () => {
  const backend = await useWebgpu();
  const { config, sizes } = samPresets.tiny;
  const predictor = createPredictor(initSam(config, sizes, { seed: 1 }), config);
  const image = predictor.embed({ width: 40, height: 24, data: new Uint8Array(40 * 24 * 3).fill(90) });
  const { scores } = await predictor.predict(image, { points: [[20, 12]] });
  assert.ok(scores.flat().every(Number.isFinite));
  backend.dispose();
})();
