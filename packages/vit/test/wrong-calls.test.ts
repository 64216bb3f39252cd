/** Calls and files that are wrong: one error each that names the thing, nothing leaked. */
import { openTensors, serializeSafetensors } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, it } from 'vitest';
import {
  createPredictor,
  loadEmbedding,
  loadSam,
  loadVit,
  preprocessVit,
  resizeSam,
  type Sam,
  saveSam,
  segmentEverything,
} from '../src/index.ts';
import { fixturePath, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
let sam: Sam;
beforeAll(async () => {
  sam = await loadSam(fixturePath('sam-tiny/model.safetensors'), { config: { decoderHeads: 4 } });
});

/** What TypeScript would not let through. */
const wrong = (value: unknown) => value as never;
const image = { width: 3, height: 2, data: new Uint8Array(18) };

const calls: [string, () => unknown, string][] = [
  ['loadSam(undefined)', () => loadSam(wrong(undefined)), 'openTensors: expected a path, an address, bytes'],
  ['loadSam("")', () => loadSam(''), "got ''"],
  ['loadVit({})', () => loadVit(wrong({})), 'openTensors: expected a path, an address, bytes'],
  ['openTensors(7)', () => openTensors(wrong(7)), 'got 7'],
  ['embed(null)', () => createPredictor(sam.weights, sam.config).embed(wrong(null)), 'embed: expected an image'],
  ['embed({})', () => createPredictor(sam.weights, sam.config).embed(wrong({})), 'embed: expected an image'],
  ['preprocessVit(3)', () => preprocessVit(wrong(3), wrong({})), 'preprocessVit: expected an image'],
  [
    'predict(image)',
    () => createPredictor(sam.weights, sam.config).predict(wrong(image), wrong(undefined)),
    'expected prompts',
  ],
  [
    'predict(null)',
    () => createPredictor(sam.weights, sam.config).predict(wrong(null), { points: [[1, 1]] }),
    'what embed',
  ],
  [
    'predict(an image)',
    () => createPredictor(sam.weights, sam.config).predict(wrong(image), { points: [[1, 1]] }),
    'got { width, height, data }',
  ],
  [
    'predict({ multimask })',
    () => {
      const predictor = createPredictor(sam.weights, sam.config);
      const embedded = predictor.embed(image);
      return predictor.predict(embedded, wrong({ points: [[1, 1]], multimask: false })).finally(embedded.dispose);
    },
    "got 'multimask'; give it among the options, the last argument",
  ],
  ['resizeSam(16e8)', () => resizeSam(sam, 16e8), 'at most 1024 patches of 16 pixels, got 1600000000'],
  [
    'resizeSam that fails after some of its weights',
    () => {
      const last = 'image_encoder.blocks.1.attn.rel_pos_w';
      const { [last]: table, ...others } = sam.weights;
      return resizeSam({ ...sam, weights: { ...others, [last]: sam.weights['image_encoder.pos_embed']! } }, 256);
    },
    "resizeSam: expected 'image_encoder.blocks.1.attn.rel_pos_w' with 2 axes, got shape [1, ",
  ],
  [
    'segmentEverything without options',
    () => segmentEverything(sam.weights, sam.config, image, wrong(null)),
    'segmentEverything: expected options to be an object, got null',
  ],
  [
    'a misspelt part',
    () => loadSam(fixturePath('sam-tiny/model.safetensors'), { part: wrong('encodr') }),
    "SAM: expected part 'encoder' or 'decoder', got 'encodr'",
  ],
  ['a misspelt part to save', () => saveSam('none.safetensors', sam, { part: wrong('decodr') }), "got 'decodr'"],
  [
    '2 ** 32 heads',
    () => loadSam(fixturePath('sam-tiny/model.safetensors'), { config: { decoderHeads: 4, heads: 2 ** 32 } }),
    "'heads': Too big: expected number to be <=1024",
  ],
  [
    '3 decoder heads',
    () => loadSam(fixturePath('sam-tiny/model.safetensors'), { config: { decoderHeads: 3 } }),
    'that 3 heads divide',
  ],
];
it.each(calls)('%s is one clear error', async (_, call, message) => {
  const before = tf.memory().numTensors;
  const error: Error = await (async () => call())().then(
    () => expect.unreachable(),
    (reason) => reason,
  );
  expect(error.message).toContain(message);
  expect(error.message).toMatch(/^[\w ]+: expected [^\n]*, got [^\n]*$/);
  expect(tf.memory().numTensors).toBe(before);
});

it('an embedding of an image that nobody could hold is refused', async () => {
  const tensors = { embedding: { dtype: 'F32' as const, shape: [1, 1, 1, 1], data: Float32Array.of(0) } };
  for (const size of ['[40000, 40000]', '[99999999999999999999, 1]', '[1, 268435457]']) {
    const bytes = serializeSafetensors(tensors, { original_size: size, input_size: '[1, 1]' });
    await expect(loadEmbedding(bytes)).rejects.toThrow('expected original_size of at most 268435456 pixels');
  }
});

it('a hundred embeddings and predictions, freed in one call each, keep nothing', async () => {
  const predictor = createPredictor(sam.weights, tinyConfig);
  const before = tf.memory().numTensors;
  const held: unknown[] = [];
  for (let i = 0; i < 100; i++) {
    const embedded = predictor.embed(image);
    const prediction = await predictor.predict(embedded, { points: [[1, 1]] }, { multimask: false });
    prediction.dispose();
    embedded.dispose();
    if (i % 30 === 29) held.push(tf.memory());
  }
  expect(tf.memory().numTensors).toBe(before);
  expect(held).toEqual([held[0], held[0], held[0]]); // tensors, their bytes, the GPU's buffers, in use and to spare
});
