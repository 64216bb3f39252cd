import '@tensorflow/tfjs-backend-cpu';
import '@slimsam/tensor-webgpu/ops';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  encodeImage,
  encoderAxes,
  encoderTapAxes,
  initSam,
  initVit,
  keepBlocks,
  loadSam,
  parseVitConfig,
  samPresets,
  saveSam,
  vitAxes,
  vitFeatures,
} from '@slimsam/vit';
import { dims, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import {
  accumulateActivations,
  activationImportance,
  applyPlan,
  importance,
  plan,
  prune,
  zeroChannels,
} from '../src/index.ts';
import { relativeError } from './fixture.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const { config, sizes } = samPresets.tiny; // 2 heads of 8 channels, 2 blocks, the second global
const sam = (): Weights =>
  Object.fromEntries(
    // relative positions and biases as in trained weights: not zero
    Object.entries(initSam(config, sizes, { seed: 4 })).map(([name, weight], i) =>
      weight.rank === 1 || name.includes('rel_pos')
        ? [name, tf.add(weight, tf.randomNormal(weight.shape, 0, 0.3, 'float32', i))]
        : [name, weight],
    ),
  );
const image = (seed = 1) => tf.randomNormal([1, 3, 64, 64], 0, 1, 'float32', seed) as tf.Tensor4D;
const embeddingOf = (weights: Weights, its = config) => encodeImage(weights, its, image()).embedding.data();

type Keep = Readonly<Record<string, readonly number[]>>;
const cases: { keep: Keep; widths: 'tied' | 'free' }[] = [
  { keep: { 'blocks.0.heads': [1] }, widths: 'tied' },
  { keep: { 'blocks.1.heads': [0], 'blocks.1.head': [0, 3, 4] }, widths: 'tied' },
  { keep: { 'blocks.0.v': [1, 5, 6] }, widths: 'free' },
  { keep: { 'blocks.1.qk': [0, 2, 3, 7] }, widths: 'free' },
  {
    keep: { 'blocks.0.qk': [0, 5], 'blocks.0.v': [0, 1, 2, 3, 4], 'blocks.1.heads': [1], 'blocks.1.v': [3] },
    widths: 'free',
  },
];
test.each(cases)('$keep: zeroing equals removing, and the file gives it back', async ({ keep, widths }) => {
  const weights = sam();
  const axes = encoderAxes(weights, config, { widths });
  const removed = prune(weights, axes, keep);
  const values = await embeddingOf(removed);
  expect(relativeError(values, await embeddingOf(zeroChannels(weights, axes, keep)))).toBeLessThan(1e-5);
  expect(relativeError(values, await embeddingOf(weights))).toBeGreaterThan(1e-3);
  const folder = await mkdtemp(join(tmpdir(), 'kinds-'));
  try {
    await saveSam(join(folder, 'slim.safetensors'), { weights: removed, config });
    const loaded = await loadSam(join(folder, 'slim.safetensors'));
    expect(await embeddingOf(loaded.weights, loaded.config)).toEqual(values);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a table of tied widths refuses a model whose q and v differ, and names both', () => {
  const weights = sam();
  const free = prune(weights, encoderAxes(weights, config, { widths: 'free' }), { 'blocks.0.v': [1, 2] });
  expect(() => dims(encoderAxes(free, config, { widths: 'tied' }), free)).toThrow(
    /expected axis 1 of 'image_encoder.blocks.0.attn.proj.weight'.*sizes from 'image_encoder.blocks.0.attn.qkv.weight' axis 0/,
  );
  expect(dims(encoderAxes(free, config), free).get('blocks.0.v')?.size).toBe(2);
});

test('a plain ViT’s free widths: zeroing equals removing', async () => {
  const vitConfig = parseVitConfig({ imageSize: [16, 16], heads: 2, headWidth: 8 });
  const weights = initVit(vitConfig, { depth: 2, mlpWidth: 24, patchSize: 8 }, { seed: 2 });
  const axes = vitAxes(weights, vitConfig, { widths: 'free' });
  const keep = { 'blocks.0.qk': [1, 2, 6], 'blocks.1.v': [0, 1, 2, 3, 7] };
  const pixels = tf.randomNormal([1, 3, 16, 16], 0, 1, 'float32', 5) as tf.Tensor4D;
  const tokensOf = (table: Weights) => vitFeatures(table, vitConfig, pixels).tokens.data();
  const zeroed = await tokensOf(zeroChannels(weights, axes, keep));
  expect(relativeError(await tokensOf(prune(weights, axes, keep)), zeroed)).toBeLessThan(1e-5);
});

test.each([[0], [1]])('dropping block %i equals branches of zeros', async (block) => {
  const weights = sam();
  const made = await plan({
    ...{ weights, axes: encoderAxes(weights, config), importance: {} },
    ...{ dropBlocks: [block], ranking: 'local', normalise: 'mean' },
  });
  const silent = Object.fromEntries(
    Object.entries(weights).map(([name, weight]) =>
      new RegExp(`blocks\\.${block}\\.(attn\\.proj|mlp\\.lin2)\\.`).test(name)
        ? [name, tf.zerosLike(weight)]
        : [name, weight],
    ),
  );
  const left = keepBlocks(config, made.blocks!.kept);
  expect(left.globalBlocks).toEqual(block === 0 ? [0] : []);
  const values = await embeddingOf(applyPlan(made, weights), left);
  expect(relativeError(values, await embeddingOf(silent))).toBeLessThan(1e-6);
});

test('heads are scored like channels; q, k and v are three members', async () => {
  const weights = sam();
  const options = { criterion: 'magnitude', weights, axes: encoderAxes(weights, config) } as const;
  const { 'blocks.0.heads': heads } = await importance({
    ...options,
    dimensions: ['blocks.0.heads'],
    reduction: 'sum',
  });
  const qkv = await weights['image_encoder.blocks.0.attn.qkv.weight']!.array();
  const proj = await weights['image_encoder.blocks.0.attn.proj.weight']!.array();
  const wanted = [0, 1].map((head) => {
    let sum = 0;
    for (let part = 0; part < 3; part++)
      for (let c = 0; c < 8; c++) for (const x of (qkv as number[][])[16 * part + 8 * head + c]!) sum += x * x;
    for (const row of proj as number[][]) for (let c = 0; c < 8; c++) sum += row[8 * head + c]! ** 2;
    return sum;
  });
  expect(relativeError(heads!, wanted)).toBeLessThan(1e-5);
});

test('activations: mean of |a|, variance and norm of the channels of taps, against sums in float64', async () => {
  const weights = sam();
  const tapAxes = encoderTapAxes(weights, config);
  const names = ['blocks.0.mlp.hidden', 'blocks.1.attn.qkv', 'blocks.1'];
  const tapsOf = (pixels: tf.Tensor4D) => encodeImage(weights, config, pixels, { taps: names }).taps;
  const photographs = [image(1), image(2)];
  const before = tf.memory().numTensors;
  const options = { weights, axes: encoderAxes(weights, config), tapAxes, batches: photographs };
  const activations = await accumulateActivations({ ...options, taps: tapsOf });
  expect(tf.memory().numTensors).toBe(before);
  const hidden = await Promise.all(photographs.map((pixels) => tapsOf(pixels)['blocks.0.mlp.hidden']!.data()));
  const columns = Array.from({ length: 64 }, (_, c) =>
    hidden.flatMap((list) => [...list].filter((_, i) => i % 64 === c)),
  );
  const mean = (list: number[]) => list.reduce((sum, x) => sum + x, 0) / list.length;
  const of = (by: 'mean' | 'variance' | 'norm', dimension: string) =>
    activationImportance({ activations, dimensions: [dimension], by })[dimension]!;
  expect(
    relativeError(
      of('mean', 'blocks.0.mlp'),
      columns.map((a) => mean(a.map(Math.abs))),
    ),
  ).toBeLessThan(1e-5);
  expect(
    relativeError(
      of('norm', 'blocks.0.mlp'),
      columns.map((a) => Math.sqrt(mean(a.map((x) => x * x)))),
    ),
  ).toBeLessThan(1e-5);
  expect(
    relativeError(
      of('variance', 'blocks.0.mlp'),
      columns.map((a) => mean(a.map((x) => (x - mean(a)) ** 2))),
    ),
  ).toBeLessThan(1e-4);
  expect(of('mean', 'blocks.1.head')).toHaveLength(8);
  expect(of('mean', 'embed')).toHaveLength(16);
  expect(() => of('mean', 'blocks.0.head')).toThrow("expected a tap of 'blocks.0.head'");
  await expect(accumulateActivations({ ...options, taps: () => ({ gone: image() }) })).rejects.toThrow("got 'gone'");
});
