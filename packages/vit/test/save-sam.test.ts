import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { readSafetensors } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { encodeImage, initSam, loadSam, parseSamConfig, type Sam, type SaveSamOptions, saveSam } from '../src/index.ts';
import { fixturePath, readSlimsamObject, readTiny, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'save-sam-'));
});
afterEach(() => rm(folder, { recursive: true }));

const tiny = async (): Promise<Sam> => ({ weights: (await readTiny()).weights, config: tinyConfig });

/** A SAM pruned to the same widths in every block: heads of 6 channels whose scores keep the scale of 12. */
function uniformlyPruned(): Sam {
  const config = parseSamConfig({
    ...{ imageSize: 64, patchSize: 16, heads: 4, headWidth: 6, windowSize: 3, globalBlocks: [1], decoderHeads: 2 },
  });
  const sizes = {
    ...{ width: 24, depth: 2, mlpWidth: 20, promptWidth: 16 },
    ...{ maskChannels: 8, decoderMlpWidth: 32, iouHiddenWidth: 16 },
  };
  const weights = Object.entries(initSam(config, sizes, { seed: 1 })).map(([name, weight], i) => {
    const random = /rel_pos|bias/.test(name); // which initSam leaves at zero
    return [name, random ? tf.randomNormal(weight.shape, 0, 0.2, 'float32', i) : weight] as const;
  });
  return { weights: Object.fromEntries(weights), config: { ...config, headWidth: 12 } };
}

async function expectEqual(actual: Sam, expected: Sam): Promise<void> {
  expect(actual.config).toEqual(expected.config);
  expect(Object.keys(actual.weights).sort()).toEqual(Object.keys(expected.weights).sort());
  const names = Object.keys(expected.weights);
  const values = async ({ weights }: Sam) => {
    const all = tf.tidy(() => tf.concat(names.map((name) => tf.reshape(weights[name]!, [-1]))));
    const data = await all.data();
    all.dispose();
    return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  };
  expect(names.map((name) => actual.weights[name]!.shape)).toEqual(names.map((name) => expected.weights[name]!.shape));
  expect(Buffer.compare(await values(actual), await values(expected))).toBe(0);
}

const models: [string, () => Promise<Sam>][] = [
  ['a SAM', tiny],
  ['a uniformly pruned one', async () => uniformlyPruned()],
  ['one with other widths in every block', readSlimsamObject],
];
it.each(models)("%s survives the way to Meta's names and back, fused and split, in F32 and F16", async (_, make) => {
  const sam = await make();
  const path = join(folder, 'sam.safetensors');
  for (const qkv of ['fused', 'split'] as const) {
    const before = tf.memory().numTensors;
    await saveSam(path, sam, { qkv });
    const loaded = await loadSam(path);
    await expectEqual(loaded, sam);
    tf.dispose(loaded.weights);
    await expectHalves(path, sam, { qkv });
    const { tensors } = await readSafetensors(path);
    expect('image_encoder.blocks.0.attn.k.weight' in tensors).toBe(qkv === 'split');
    expect(new Set(Object.values(tensors).map(({ dtype }) => dtype))).toEqual(new Set(['F16']));
    expect(tf.memory().numTensors).toBe(before);
  }
});

/** Expects F16 files to hold the values rounded to 11 bits, and those exactly from then on. */
async function expectHalves(path: string, sam: Sam, options: SaveSamOptions): Promise<void> {
  await saveSam(path, sam, { ...options, dtype: 'F16' });
  const half = await loadSam(path);
  for (const [name, weight] of Object.entries(sam.weights)) {
    const [values, rounded] = [await weight.data(), await half.weights[name]!.data()];
    const wrong = values.findIndex((value, i) => Math.abs(value - rounded[i]!) > Math.abs(value) * 2 ** -11 + 2 ** -25);
    expect(wrong).toBe(-1);
  }
  await saveSam(path, half, { ...options, dtype: 'F16' });
  const again = await loadSam(path);
  await expectEqual(again, half);
  tf.dispose([half.weights, again.weights]);
}

it("writes transformers' SamModel folder: its names, its config, the same values", async () => {
  const sam = await tiny();
  await saveSam(folder, sam, { names: 'hugging-face' });
  expect((await readdir(folder)).sort()).toEqual(['config.json', 'model.safetensors', 'preprocessor_config.json']);
  const names: Record<string, string> = JSON.parse(
    gunzipSync(await readFile(fixturePath('sam-tiny/hugging-face-names.json.gz'))).toString(),
  );
  const { tensors } = await readSafetensors(join(folder, 'model.safetensors'));
  expect(Object.keys(tensors).sort()).toEqual(Object.keys(names).sort());
  for (const [name, { data }] of Object.entries(tensors)) expect(await sam.weights[names[name]!]!.data()).toEqual(data);
  const json = async (path: string) => JSON.parse(await readFile(path, 'utf8'));
  expect(await json(join(folder, 'config.json'))).toMatchObject(
    without(await json(fixturePath('sam-tiny/config.hf.json')), 'initializer_range'),
  );
  await expectEqual(await loadSam(folder), sam);
  await expectHalves(folder, sam, { names: 'hugging-face' });
});

it("rescales q to SamModel's own scale: the same embedding, and exact from then on", async () => {
  const sam = { ...uniformlyPruned() };
  const own = { ...sam.config, pixelMean: [1.5, 2, 3], pixelStd: [4, 5.25, 6] } as const;
  await saveSam(folder, { ...sam, config: own }, { names: 'hugging-face' });
  const loaded = await loadSam(folder);
  expect(loaded.config).toEqual({ ...own, headWidth: 6 });
  const image = tf.randomNormal<tf.Rank.R4>([1, 3, 64, 64], 0, 1, 'float32', 7);
  const [a, b] = [sam, loaded].map(({ weights, config }) => encodeImage(weights, config, image).embedding);
  const [difference, size] = [tf.max(tf.abs(tf.sub(a!, b!))), tf.max(tf.abs(a!))];
  expect((await difference.data())[0]! / (await size.data())[0]!).toBeLessThan(1e-5);
  await saveSam(folder, loaded, { names: 'hugging-face' });
  await expectEqual(await loadSam(folder), loaded);
  await expectHalves(folder, loaded, { names: 'hugging-face' });
});

const refused: [string, () => Promise<Sam>, SaveSamOptions, string][] = [
  ['split q, k, v for SamModel', tiny, { names: 'hugging-face', qkv: 'split' }, "expected qkv: 'fused' with Hugging"],
  ['other widths in every block', readSlimsamObject, { names: 'hugging-face' }, 'got 28 / 28 / 92, 24 / 24 / 96,'],
];
it.each(refused)('refuses %s', async (_, make, options, message) => {
  await expect(saveSam(join(folder, 'x'), await make(), options)).rejects.toThrow(message);
  expect(await readdir(folder)).toEqual([]);
});

function without(json: Record<string, unknown>, key: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(json).filter(([name]) => name !== key));
}
