import { serializeSafetensors } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { loadVit, type VitConfig, vitFeatures, vitHead } from '../src/index.ts';
import { checkpoints, imageValues, randomTensors, tiny } from './plain-checkpoints.ts';
import { families } from './plain-families.ts';
import { linear, referenceTokens } from './plain-reference.ts';
import { withWebgpu } from './support.ts';

withWebgpu();

/** What the files do not tell: heads that are not 64 wide, and which activation timm's CLIP towers have. */
const configOf = (name: string): Partial<VitConfig> => ({
  heads: tiny.heads,
  ...(name === 'timm CLIP' && { activation: 'quick-gelu' }),
});

/** Largest difference, as a share of the reference's range. */
async function errorOf(actual: tf.Tensor, reference: readonly number[][]): Promise<number> {
  const [values, wanted] = [await actual.data(), reference.flat()];
  expect(values.length).toBe(wanted.length);
  const worst = wanted.reduce((most, value, i) => Math.max(most, Math.abs(value - values[i]!)), 0);
  return worst / (Math.max(...wanted) - Math.min(...wanted));
}

describe.each(Object.entries(families))('%s', (name, family) => {
  const tensors = randomTensors(checkpoints[name]!(tiny), 3);
  const load = () => loadVit(serializeSafetensors(tensors), { config: configOf(name) });

  // 1e-5: two blocks of float32 sums of at most 40 terms, each with a relative error of 6e-8
  it.each([
    ['of its own size', 12, 12],
    ['that is not square', 12, 16],
    ['that is larger', 28, 20],
    ['that is smaller', 8, 4],
  ])('gives the float64 values for an image %s', async (_, height, width) => {
    const { weights, config } = await load();
    const values = imageValues(height, width);
    const before = tf.memory().numTensors;
    const image = tf.tensor4d(values, [1, 3, height, width]);
    const reference = referenceTokens(tensors, family, { values, height, width });
    const taps = Object.keys(reference.streams);
    const { tokens, classToken, embedding, taps: tapped } = vitFeatures(weights, config, image, { taps });
    expect(await errorOf(tokens, reference.tokens)).toBeLessThan(1e-5);
    for (const tap of taps) expect(await errorOf(tapped[tap]!, reference.streams[tap]!), tap).toBeLessThan(1e-5);
    expect(await classToken.data()).toEqual((await tokens.data()).slice(0, tiny.width));
    const [h, w] = [height / tiny.patch, width / tiny.patch];
    expect(embedding.shape).toEqual([1, tiny.width, h, w]);
    const channels = Array.from({ length: tiny.width }, (_, c) => reference.tokens.slice(-h * w).map((row) => row[c]!));
    expect(await errorOf(embedding, channels)).toBeLessThan(1e-5);
    tf.dispose([image, tokens, classToken, embedding, tapped]);
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose(weights);
  });
});

// the families' own 1e-12 to 1e-5 do not show beside variances of 1
it('adds epsilon to every variance', async () => {
  const tensors = randomTensors(checkpoints.CLIPVisionModel!(tiny), 4);
  const { weights, config } = await loadVit(serializeSafetensors(tensors), { config: { heads: 3, epsilon: 0.5 } });
  const values = imageValues(12, 12);
  const family = { ...families.CLIPVisionModel!, epsilon: 0.5 };
  const { tokens } = referenceTokens(tensors, family, { values, height: 12, width: 12 });
  const image = tf.tensor4d(values, [1, 3, 12, 12]);
  expect(await errorOf(vitFeatures(weights, config, image).tokens, tokens)).toBeLessThan(1e-5);
});

it('treats the images of a batch alike', async () => {
  const { weights, config } = await loadVit(
    serializeSafetensors(randomTensors(checkpoints['Meta DINOv2 with registers']!(tiny))),
    { config: { heads: 3 } },
  );
  const images = [1, 2, 3].map((seed) => tf.tensor4d(imageValues(12, 16, seed), [1, 3, 12, 16]));
  const all = await vitFeatures(weights, config, tf.concat(images) as tf.Tensor4D).tokens.data();
  const size = all.length / 3;
  for (const [i, image] of images.entries()) {
    const one = await vitFeatures(weights, config, image).tokens.data();
    expect(Math.max(...one.map((value, k) => Math.abs(value - all[i * size + k]!)))).toBeLessThan(1e-5);
  }
});

it.each([
  ['timm ViT', 'head'],
  ['ViTForImageClassification', 'classifier'],
  ['Dinov2ForImageClassification', 'classifier'],
  ['CLIPModel', 'visual_projection'],
])('applies the head of a %s', async (name, head) => {
  const tensors = randomTensors(checkpoints[name]!(tiny), 5);
  const { weights, config } = await loadVit(serializeSafetensors(tensors), { config: { heads: 3 } });
  const values = imageValues(12, 12);
  const features = vitFeatures(weights, config, tf.tensor4d(values, [1, 3, 12, 12]));
  const image = { values, height: 12, width: 12 };
  const { tokens } = referenceTokens(tensors, families[name]!, image);
  const mean = tokens[0]!.map((_, c) => tokens.slice(-9).reduce((sum, row) => sum + row[c]! / 9, 0));
  const input = name.startsWith('Dinov2') ? [...tokens[0]!, ...mean] : tokens[0]!;
  expect(await errorOf(vitHead(weights, features), linear(tensors, head, [input]))).toBeLessThan(1e-5);
});
