import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import {
  createPredictor,
  encodeImage,
  halfPrecision,
  initVit,
  parseSamConfig,
  parseVitConfig,
  type SamConfig,
  samPresets,
  vitFeatures,
} from '../src/index.ts';
import { formulaWeights, shapesOf } from './formula.ts';
import { imageOf, readTiny, relativeError, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
const backend = () => tf.engine().backend as WebgpuBackend;

/** Largest difference, as a share of the reference's range. */
async function difference(actual: tf.Tensor, reference: tf.Tensor): Promise<number> {
  const worst = tf.tidy(() => {
    const range = tf.sub(tf.max(reference), tf.min(reference));
    return tf.div(tf.max(tf.abs(tf.sub(actual, reference))), range);
  });
  const [share] = await worst.data();
  worst.dispose();
  return share!;
}

/** The differences of some blocks and of the embedding, between the model in half precision and in float32. */
async function differences(weights: Weights, config: SamConfig, blocks: readonly number[]): Promise<number[]> {
  const { imageSize } = config;
  const image = tf.randomNormal([1, 3, imageSize, imageSize], 0, 1, 'float32', 3) as tf.Tensor4D;
  const taps = ['patch_embed', ...blocks.map((i) => `blocks.${i}`)];
  const halves = halfPrecision(weights);
  const [exact, rounded] = [weights, halves].map((some) => encodeImage(some, config, image, { taps }));
  const found: number[] = [];
  for (const tap of taps) found.push(await difference(rounded!.taps[tap]!, exact!.taps[tap]!));
  found.push(await difference(rounded!.embedding, exact!.embedding));
  disposeWeights(halves);
  tf.dispose([image, exact!.taps, exact!.embedding, rounded!.taps, rounded!.embedding]);
  return found;
}

// A block makes two sums of up to 3072 products of rounded factors: about 2^-11 of their size each, a hundredth is the aim. A wrong
// kernel is off by tenths.
const most = 1e-2;

it('a window block and a global block of SAM-B: within a hundredth of float32', { timeout: 300_000 }, async () => {
  const preset = samPresets['sam-vit-base'];
  const config = parseSamConfig({ ...preset.config, globalBlocks: [1] });
  const weights = formulaWeights(shapesOf({ config, sizes: { ...preset.sizes, depth: 2 } }));
  const found = await differences(weights, config, [0, 1]);
  console.log(
    'SAM-B, patches, window block, global block, embedding:',
    found.map((x) => x.toExponential(1)).join(', '),
  );
  for (const share of found) expect(share).toBeLessThan(most);
  expect(Math.max(...found)).toBeGreaterThan(1e-6); // it is half precision
  disposeWeights(weights);
});

it.each(['chosen for the adapter', 'for GPUs'])('the small SAM by the kernels %s', async (which) => {
  const { facts } = backend();
  if (which === 'for GPUs') Object.assign(backend(), { facts: { ...facts, isCpu: false, subgroupSize: 0 } });
  const tiny = await readTiny();
  const found = await differences(tiny.weights, tinyConfig, [0, 1, 2, 3]);
  Object.assign(backend(), { facts });
  for (const share of found) expect(share).toBeLessThan(most);
  expect(Math.max(...found)).toBeGreaterThan(1e-6);
});

it('the predictor: masks and scores of the small SAM, from half the memory, and none is left', async () => {
  const tiny = await readTiny();
  const held = () => [tf.memory().numTensors, backend().memory().numBytesInGPU];
  const halves = halfPrecision(tiny.weights);
  const predictor = createPredictor(halves, tinyConfig);
  const predict = async () => {
    const embedded = predictor.embed(imageOf(tiny));
    const error = await relativeError(embedded.embedding, tiny, 'image_embedding');
    const { scores, lowRes } = await predictor.predict(embedded, { points: [[40, 30]] });
    tf.dispose([embedded.embedding, lowRes]);
    return { error, scores };
  };
  const first = await predict();
  expect(first.error).toBeLessThan(most);
  const before = held();
  expect(await predict()).toEqual(first);
  expect(held()).toEqual(before);

  const exact = createPredictor(tiny.weights, tinyConfig);
  const embedded = exact.embed(imageOf(tiny));
  const { scores } = await exact.predict(embedded, { points: [[40, 30]] });
  scores[0]!.forEach((score, i) => {
    expect(Math.abs(first.scores[0]![i]! - score)).toBeLessThan(most);
  });
});

it('matrices of the encoder take half the memory; the rest is as it was', async () => {
  const preset = samPresets.tiny;
  const weights = formulaWeights(
    shapesOf({ config: preset.config, sizes: { ...preset.sizes, width: 256, mlpWidth: 1024 } }),
  );
  const before = backend().memory().numBytesInGPU;
  const halves = halfPrecision(weights);
  const names = Object.keys(halves).filter((name) => backend().isHalf(halves[name]!));
  expect(names.filter((name) => name.startsWith('image_encoder.blocks.0.'))).toEqual(
    ['attn.qkv', 'attn.proj', 'mlp.lin1', 'mlp.lin2'].map((layer) => `image_encoder.blocks.0.${layer}.weight`),
  );
  expect(names.filter((name) => !name.includes('blocks'))).toEqual(
    ['patch_embed.proj', 'neck.0', 'neck.2'].map((layer) => `image_encoder.${layer}.weight`),
  );
  const values = names.reduce((sum, name) => sum + halves[name]!.size, 0);
  disposeWeights(weights);
  const bytes = backend().memory().numBytesInGPU - before;
  expect(bytes / (2 * values)).toBeLessThan(1.001); // nothing else was uploaded
  for (const [name, { size }] of Object.entries(halves)) expect((await halves[name]!.data()).length).toBe(size);
  disposeWeights(halves);
  expect(backend().memory().numBytesInGPU).toBe(before);
});

it('a plain ViT', async () => {
  const config = parseVitConfig({ imageSize: [32, 32], heads: 2, headWidth: 8 });
  const weights = initVit(config, { depth: 2, mlpWidth: 32, patchSize: 8, registers: 4 }, { seed: 1 });
  const image = tf.randomNormal([1, 3, 32, 32], 0, 1, 'float32', 3) as tf.Tensor4D;
  const halves = halfPrecision(weights);
  const [exact, rounded] = [weights, halves].map((some) => vitFeatures(some, config, image));
  const share = await difference(rounded!.tokens, exact!.tokens);
  expect(share).toBeLessThan(most);
  expect(share).toBeGreaterThan(1e-6);
});
