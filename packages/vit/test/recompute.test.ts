import { disposeWeights, valueAndGradients, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import {
  type EncodeOptions,
  encodeImage,
  initSam,
  initVit,
  parseSamConfig,
  parseVitConfig,
  vitFeatures,
} from '../src/index.ts';
import { withWebgpu } from './support.ts';

withWebgpu();

const heads = { heads: 2, headWidth: 4 };
const sam = parseSamConfig({
  imageSize: 40,
  patchSize: 8,
  ...heads,
  windowSize: 3,
  globalBlocks: [1],
  decoderHeads: 2,
});
const vit = parseVitConfig({ imageSize: [40, 40], ...heads });
const sizes = { depth: 2, mlpWidth: 12 };
const decoder = { promptWidth: 16, maskChannels: 8, decoderMlpWidth: 12, iouHiddenWidth: 8 };
const taps = ['patch_embed', 'blocks.0.attn.qkv', 'blocks.0', 'blocks.1.attn', 'blocks.1.mlp.hidden', 'blocks.1'];

interface Case {
  readonly make: () => Weights;
  readonly features: (
    weights: Weights,
    image: tf.Tensor4D,
    options: EncodeOptions,
  ) => { embedding: tf.Tensor; taps: Weights };
}

const cases: Record<string, Case> = {
  'a SAM': {
    make: () => {
      const all = Object.entries(initSam(sam, { width: 8, ...sizes, ...decoder }, { seed: 1 }));
      const [encoder, rest] = [true, false].map((wanted) =>
        all.filter(([name]) => name.startsWith('image_encoder.') === wanted),
      );
      disposeWeights(Object.fromEntries(rest!));
      return Object.fromEntries(encoder!);
    },
    features: (weights, image, options) => encodeImage(weights, sam, image, options),
  },
  'a plain ViT': {
    make: () => initVit(vit, { patchSize: 8, ...sizes, registers: 1, layerScale: 0.5 }, { seed: 1 }),
    features: (weights, image, options) => vitFeatures(weights, vit, image, options),
  },
};

/** A table's values, by name. */
async function values(table: Weights): Promise<Record<string, Float32Array>> {
  const entries = Object.entries(table).map(async ([name, x]) => [name, await x.data<'float32'>()] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** The largest difference as a share of the largest value. */
function difference(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let [error, scale] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    error = Math.max(error, Math.abs(got[i]! - wanted[i]!));
    scale = Math.max(scale, Math.abs(wanted[i]!));
  }
  return error / scale;
}

test.each(Object.entries(cases))(
  '%s with recomputation: embedding, taps and the gradients through all of them are those without',
  async (_, { make, features }) => {
    const weights = make();
    const image = tf.randomNormal([2, 3, 40, 40], 0, 1, 'float32', 5) as tf.Tensor4D;
    const before = tf.memory().numTensors;
    const run = async (recompute: boolean) => {
      let seen: Weights = {};
      const { value, gradients } = valueAndGradients(weights, () => {
        const { embedding, taps: found } = features(weights, image, { taps, recompute });
        // a tap, and what is kept of it within its block, are looked at alike
        const kept = features(weights, image, { taps, recompute, keep: (_, tap) => tf.mean(tf.square(tap)) }).taps;
        const squares = Object.entries(kept).map(([name, x]) => [`square of ${name}`, x]);
        const looked: Weights = { embedding, ...found, ...Object.fromEntries(squares) };
        seen = Object.fromEntries(Object.entries(looked).map(([name, x]) => [name, tf.keep(tf.clone(x))]));
        return tf.addN(Object.values(looked).map((x, i) => tf.mean(tf.sin(tf.add(x, i))))) as tf.Scalar;
      });
      const read = { seen: await values(seen), gradients: await values(gradients), value: await values({ value }) };
      for (const table of [seen, gradients, { value }]) disposeWeights(table);
      return read;
    };
    const [plain, recomputed] = [await run(false), await run(true)];
    expect(Object.keys(plain.seen)).toEqual(['embedding', ...taps, ...taps.map((name) => `square of ${name}`)]);
    for (const part of ['seen', 'gradients', 'value'] as const) {
      expect(Object.keys(recomputed[part])).toEqual(Object.keys(plain[part]));
      for (const [name, wanted] of Object.entries(plain[part]))
        expect(difference(recomputed[part][name]!, wanted), `${part} ${name}`).toBeLessThan(1e-5);
    }
    expect(tf.memory().numTensors).toBe(before);
    disposeWeights(weights);
    image.dispose();
  },
);
