import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prune } from '@slimsam/prune';
import { dims, disposeWeights, serializeSafetensors, valueAndGradients } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bottleneckTaps,
  decodeMasks,
  embeddingTaps,
  encodeImage,
  encodePrompts,
  encoderAxes,
  encoderCosts,
  loadSam,
  loadVit,
  resizeSam,
  type Sam,
  samFromVit,
  saveSam,
  withAxisFrequencies,
} from '../src/index.ts';
import { exportOnnx } from '../src/onnx/index.ts';
import { floats, largestDifference, runModel } from './onnx-support.ts';
import { checkpoints, fileOf, imageValues, randomTensors, tiny } from './plain-checkpoints.ts';
import { families } from './plain-families.ts';
import { referenceTokens } from './plain-reference.ts';
import { withWebgpu } from './support.ts';

withWebgpu();
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'from-vit-'));
});
afterAll(() => rm(folder, { recursive: true }));

const sizes = { promptWidth: 16, decoderHeads: 2, maskChannels: 8, decoderMlpWidth: 32, iouHiddenWidth: 16, seed: 1 };

async function samOf(name: string, imageSize: number, seed = 3): Promise<Sam> {
  const vit = await loadVit(fileOf(checkpoints[name]!(tiny), seed), { config: { heads: tiny.heads } });
  const sam = samFromVit(vit, { ...sizes, imageSize });
  disposeWeights(vit.weights);
  return sam;
}

const image = (side: number, seed = 1) => tf.tensor4d(imageValues(side, side, seed), [1, 3, side, side]);

/** Embedding, and masks with one point. */
async function outputs(sam: Sam, pixels: tf.Tensor4D): Promise<{ embedding: Float32Array; masks: Float32Array }> {
  const made = tf.tidy(() => {
    const { embedding } = encodeImage(sam.weights, sam.config, pixels);
    const prompts = encodePrompts(sam.weights, sam.config, { points: tf.tensor([[[5, 6]]]), labels: tf.tensor([[1]]) });
    return {
      embedding,
      masks: decodeMasks(sam.weights, sam.config, { embedding, ...prompts, multimask: false }).masks,
    };
  });
  const values = { embedding: await made.embedding.data(), masks: await made.masks.data() };
  tf.dispose(made);
  return values as { embedding: Float32Array; masks: Float32Array };
}

// 1e-5 as in plain-values.test.ts: float32 sums of at most 40 terms against float64
describe.each(['Dinov2Model', 'Meta DINOv2 with registers', 'timm ViT', 'ViTModel'])('a SAM on a %s', (name) => {
  it.each([12, 20])("has the ViT's values without its class token and last norm at %i pixels", async (side) => {
    const before = tf.memory().numTensors;
    const sam = await samOf(name, side);
    const values = imageValues(side, side, 1);
    const reference = referenceTokens(
      randomTensors(checkpoints[name]!(tiny), 3),
      { ...families[name]!, patchesOnly: true },
      { values, height: side, width: side },
    );
    const taps = Object.keys(reference.streams);
    expect(taps).toContain('blocks.1');
    const pixels = image(side);
    const features = encodeImage(sam.weights, sam.config, pixels, { taps });
    for (const tap of taps) {
      const wanted = reference.streams[tap]!.flat();
      const range = Math.max(...wanted) - Math.min(...wanted);
      expect(largestDifference(await features.taps[tap]!.data(), wanted) / range, tap).toBeLessThan(1e-5);
    }
    expect(features.embedding.shape).toEqual([1, 16, side / 4, side / 4]);
    tf.dispose([pixels, features.embedding, features.taps]);
    disposeWeights(sam.weights);
    expect(tf.memory().numTensors).toBe(before);
  });
});

it('saves and loads, with both kinds of names, and resizes', async () => {
  const pixels = image(20);
  for (const [name, path, options] of [
    ['Dinov2Model', 'sam.safetensors', {}],
    ['ViTModel', 'split.safetensors', { qkv: 'split' }],
    ['ViTModel', 'folder', { names: 'hugging-face' }], // with an epsilon that is not SAM's
  ] as const) {
    const sam = await samOf(name, 20);
    await saveSam(join(folder, path), sam, options);
    const loaded = await loadSam(join(folder, path));
    expect(loaded.config).toEqual(sam.config);
    expect(loaded.config.epsilon).toBe(name === 'ViTModel' ? 1e-12 : undefined);
    const expected = await outputs(sam, pixels);
    const got = await outputs(loaded, pixels);
    expect(largestDifference(got.masks, expected.masks)).toBeLessThan(1e-6);
    expect(largestDifference(got.embedding, expected.embedding)).toBeLessThan(1e-6);
  }
  const small = resizeSam(await samOf('timm ViT', 20), 12); // whose positions are resized as SAM's
  const own = await samOf('timm ViT', 12);
  expect(small.config.imageSize).toBe(12);
  expect((await outputs(small, image(12))).masks.length).toBe((await outputs(own, image(12))).masks.length);
});

it('prunes: without channels it is the one with zeros there, and what is left loads again', async () => {
  const sam = await samOf('Dinov2Model', 12);
  const axes = encoderAxes(sam.weights, sam.config);
  const found = dims(axes, sam.weights);
  expect(found.get('embed')!.size).toBe(24);
  const keep = { 'blocks.0.head': [0, 2, 5], 'blocks.1.head': [1, 7], 'blocks.0.mlp': [3, 4, 39], 'blocks.1.mlp': [0] };
  const weights = prune(sam.weights, axes, keep);
  const zeroed = Object.fromEntries(
    Object.entries(sam.weights).map(([name, weight]) => {
      const block = /^image_encoder\.(blocks\.\d)\.(attn\.proj|mlp\.lin2)\.weight$/.exec(name);
      if (!block) return [name, weight];
      const kept: readonly number[] =
        keep[`${block[1]}.${block[2] === 'attn.proj' ? 'head' : 'mlp'}` as keyof typeof keep];
      const size = block[2] === 'attn.proj' ? 8 : 40; // channels of a head, or of the MLP
      const mask = Array.from({ length: weight.shape[1]! }, (_, i) => (kept.includes(i % size) ? 1 : 0));
      return [name, tf.mul(weight, tf.tensor1d(mask))];
    }),
  );
  // the channels of queries and keys are zeroed too: their scores lose the same products
  const silent = Object.fromEntries(
    Object.entries(zeroed).map(([name, weight]) => {
      const block = /^image_encoder\.(blocks\.\d)\.attn\.qkv\.(weight|bias)$/.exec(name);
      if (!block) return [name, weight];
      const kept: readonly number[] = keep[`${block[1]}.head` as keyof typeof keep];
      const mask = Array.from({ length: weight.shape[0]! }, (_, i) => (kept.includes(i % 8) ? 1 : 0));
      return [name, tf.mul(weight, tf.reshape(tf.tensor1d(mask), weight.rank === 2 ? [-1, 1] : [-1]))];
    }),
  );
  const slim = { weights, config: sam.config };
  const pixels = image(12);
  const pruned = await outputs(slim, pixels);
  expect(largestDifference(pruned.masks, (await outputs({ ...sam, weights: silent }, pixels)).masks)).toBeLessThan(
    1e-5,
  );
  expect(largestDifference(pruned.masks, (await outputs(sam, pixels)).masks)).toBeGreaterThan(1e-3);

  const path = join(folder, 'slim.safetensors');
  await saveSam(path, slim);
  const loaded = await loadSam(path);
  expect(loaded.config).toEqual(sam.config);
  expect((await outputs(loaded, pixels)).masks).toEqual(pruned.masks);

  const { applications, attention } = encoderCosts(weights, sam.config);
  expect(applications['image_encoder.blocks.1.attn.qkv.weight']).toBe(9);
  expect(attention).toEqual(
    [0, 1].map((i) => ({
      qkv: `image_encoder.blocks.${i}.attn.qkv.weight`,
      proj: `image_encoder.blocks.${i}.attn.proj.weight`,
      windows: 1,
      tokens: 9,
    })),
  );
  expect(bottleneckTaps(weights, sam.config).windowQkv).toEqual([]);
  expect(bottleneckTaps(weights, sam.config).globalQkv).toEqual(['blocks.0.attn.qkv', 'blocks.1.attn.qkv']);
  expect(embeddingTaps(weights, sam.config)).toContain('blocks.1');
});

it('exports to ONNX, pruned too', async () => {
  for (const [name, change] of [
    ['Dinov2Model', (sam: Sam) => sam.weights],
    [
      'timm ViT',
      (sam: Sam) =>
        prune(sam.weights, encoderAxes(sam.weights, sam.config), { 'blocks.0.head': [0, 3], embed: [1, 2, 5, 20] }),
    ],
  ] as const) {
    const sam = await samOf(name, 20);
    const changed = { weights: change(sam), config: sam.config };
    await exportOnnx(folder, changed);
    const expected = await outputs(changed, image(20));
    const run = await runModel(join(folder, 'encoder.onnx'), { image: floats(imageValues(20, 20, 1), [1, 3, 20, 20]) });
    expect(largestDifference(run.image_embeddings!.data, expected.embedding)).toBeLessThan(1e-5);
    const decoded = await runModel(join(folder, 'decoder.onnx'), {
      image_embeddings: run.image_embeddings!,
      point_coords: floats([5, 6, 0, 0], [1, 2, 2]),
      point_labels: floats([1, -1], [1, 2]),
      mask_input: floats(new Array(400).fill(0), [1, 1, 20, 20]),
      has_mask_input: floats([0], [1]),
      orig_im_size: floats([20, 20], [2]),
    });
    expect(largestDifference(decoded.low_res_masks!.data.slice(0, 400), expected.masks)).toBeLessThan(1e-5);
  }
});

it('reaches every weight of the encoder with its gradients', async () => {
  const sam = await samOf('Dinov2Model', 12);
  const encoder = Object.fromEntries(Object.entries(sam.weights).filter(([name]) => name.startsWith('image_encoder.')));
  const { gradients } = valueAndGradients(encoder, () => {
    const { embedding } = encodeImage({ ...sam.weights, ...encoder }, sam.config, image(12));
    return tf.sum(tf.mul(embedding, tf.square(embedding))) as tf.Scalar;
  });
  expect(Object.keys(gradients).sort()).toEqual(Object.keys(encoder).sort());
});

describe('refuses', () => {
  it.each([
    ['Dinov2Model giant', {}, 'samFromVit: expected MLPs with one GELU, got a SwiGLU'],
    ['CLIPVisionModel', {}, "samFromVit: expected the exact GELU, got 'quick-gelu'"],
    ['Dinov2Model', { promptWidth: 12 }, 'samFromVit: expected promptWidth to be a multiple of 8 and of twice the 2'],
    ['Dinov2Model', { imageSize: 14 }, 'SAM config: expected imageSize to be a multiple of patchSize, got 14 and 4'],
  ])('%s with %o', async (name, options, message) => {
    const vit = await loadVit(fileOf(checkpoints[name]!(tiny), 3), { config: { heads: tiny.heads } });
    const before = tf.memory().numTensors;
    expect(() => samFromVit(vit, { ...sizes, imageSize: 12, ...options })).toThrow(message);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('a file without relative positions that does not tell its heads', async () => {
    const { weights, config } = await samOf('Dinov2Model', 12);
    const tensors = Object.fromEntries(
      await Promise.all(
        Object.entries(weights).map(
          async ([name, weight]) =>
            [
              name,
              { dtype: 'F32' as const, shape: weight.shape, data: (await weight.data()) as Float32Array },
            ] as const,
        ),
      ),
    );
    const bytes = serializeSafetensors(tensors);
    await expect(loadSam(bytes)).rejects.toThrow('loadSam: expected weights that tell heads, got none');
    const { heads, globalBlocks, decoderHeads } = config;
    const told = await loadSam(bytes, { config: { heads, globalBlocks, decoderHeads } });
    expect(told.config).toEqual({ ...config, pixelMean: told.config.pixelMean, pixelStd: told.config.pixelStd });
  });
});

it('positions have frequencies along the axes; a trained decoder gets some in place of its highest', async () => {
  const matrix = 'prompt_encoder.pe_layer.positional_encoding_gaussian_matrix';
  const valuesOf = async (x: tf.Tensor | undefined) => [...(await x!.data())];
  const sam = await samOf('Dinov2Model', 28);
  const along = (await valuesOf(sam.weights[matrix])).map((x) => Number(x.toFixed(3)));
  expect(along).toEqual([0.125, 0.397, 1.26, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0.125, 0.397, 1.26, 4]);

  const random = tf.tensor2d([0.1, 3, -0.2, 0.5, 0.3, -1, 2, 0.4, 0.2, 0, 0.1, -0.6, 0, 5, 0.2, 0.1], [2, 8]);
  const trained: Sam['weights'] = { ...sam.weights, [matrix]: random };
  const changed = await withAxisFrequencies(trained, { count: 2, seed: 1 });
  const expected = await valuesOf(random);
  [expected[5], expected[13], expected[1], expected[9]] = [0.125, 0, 0, 0.125]; // the highest, along x, and the next, along y
  expect(await valuesOf(changed[matrix])).toEqual(expected.map(Math.fround));
  const columns = [1, 5, 9, 13]; // their sines and cosines
  const name = 'mask_decoder.transformer.layers.0.cross_attn_image_to_token';
  const [q, k, before] = await Promise.all(
    [changed[`${name}.q_proj.weight`], changed[`${name}.k_proj.weight`], trained[`${name}.q_proj.weight`]].map(
      valuesOf,
    ),
  );
  for (const [i, value] of q!.entries()) {
    const anew = columns.includes(i % 16);
    expect(value === before![i]).toBe(!anew);
    if (anew) expect(value).toBeCloseTo(k![i]!, 6); // both were as large
  }
  for (const [other, weight] of Object.entries(changed))
    if (other !== matrix && !/(token_to_image|image_to_token)\.[qk]_proj\.weight$/.test(other))
      expect(await valuesOf(weight)).toEqual(await valuesOf(trained[other]));
  for (const count of [0, 3, 10])
    await expect(withAxisFrequencies(trained, { count, seed: 1 })).rejects.toThrow(
      `withAxisFrequencies: expected an even count from 2 to the 8 frequencies, got ${count}`,
    );
  disposeWeights(changed);
});
