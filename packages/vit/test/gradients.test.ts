import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeMasks, encodeImage, encodePrompts, initSam, parseSamConfig } from '../src/index.ts';
import { withWebgpu } from './support.ts';

withWebgpu();
const config = parseSamConfig({
  imageSize: 40,
  patchSize: 8,
  heads: 2,
  headWidth: 4,
  windowSize: 3,
  globalBlocks: [1],
  decoderHeads: 2,
});
const sizes = {
  width: 8,
  depth: 2,
  mlpWidth: 12,
  promptWidth: 16,
  maskChannels: 8,
  decoderMlpWidth: 12,
  iouHiddenWidth: 8,
};
let weights: Weights;
let image: tf.Tensor4D;
beforeAll(() => {
  weights = initSam(config, sizes, { seed: 1 });
  // zeros are a special place: relative positions and biases are to be seen by the gradient
  weights = Object.fromEntries(
    Object.entries(weights).map(([name, weight], i) => [
      name,
      tf.add(weight, tf.randomNormal(weight.shape, 0, 0.1, 'float32', i + 1)),
    ]),
  );
  image = tf.randomNormal([2, 3, 40, 40], 0, 1, 'float32', 5) as tf.Tensor4D;
});

/** A number that every weight has a part in. */
function loss(table: Weights): tf.Scalar {
  const { embedding } = encodeImage(table, config, image);
  const points = tf.tensor3d([
    [
      [3, 9],
      [20, 11],
    ],
    [
      [30, 8],
      [7, 7],
    ],
  ]);
  const labels = tf.tensor2d([
    [1, 0],
    [0, 1],
  ]);
  const boxes = tf.tensor2d([
    [1, 2, 20, 30],
    [5, 5, 9, 39],
  ]);
  const masks = tf.cos(tf.reshape(tf.range(0, 2 * 20 * 20), [2, 1, 20, 20]));
  const total = [true, false].map((multimask) => {
    const prompts = multimask ? { points, labels } : { boxes, masks };
    const decoded = decodeMasks(table, config, { embedding, ...encodePrompts(table, config, prompts), multimask });
    return tf.add(tf.mean(tf.square(decoded.masks)), tf.mean(tf.square(decoded.scores)));
  });
  return tf.addN(total) as tf.Scalar;
}

describe('gradients', () => {
  it('reach every weight, agree with finite differences and leak nothing', async () => {
    const names = Object.keys(weights);
    const before = tf.memory().numTensors;
    const { value, grads } = tf.valueAndGrads((...tensors: tf.Tensor[]) =>
      loss(Object.fromEntries(tensors.map((tensor, i) => [names[i]!, tensor]))),
    )(Object.values(weights));
    expect(tf.memory().numTensors).toBe(before + 1 + names.length);
    const norms = await Promise.all(grads.map((gradient) => tf.tidy(() => tf.norm(gradient)).data()));
    for (const [i, name] of names.entries()) {
      // softmax does not see what a key's bias adds to all scores of a query
      if (!name.endsWith('k_proj.bias')) expect(norms[i]![0], name).toBeGreaterThan(0);
    }
    // along its own gradient g, scaled to |g| = 1, a weight changes the loss by |g|
    for (const part of [
      'pos_embed',
      '0.attn.qkv.weight',
      '1.attn.rel_pos_h',
      'neck.2.weight',
      'mask_tokens.weight',
      'upscaling.0.weight',
      'mask_downscaling.3.weight',
      'mlps.2.layers.1.weight',
    ]) {
      const index = names.findIndex((name) => name.endsWith(part));
      const norm = norms[index]![0]!;
      const at = (step: number) =>
        tf.tidy(() => {
          const moved = tf.add(weights[names[index]!]!, tf.mul(grads[index]!, step / norm));
          return loss({ ...weights, [names[index]!]: moved });
        });
      const step = 2e-2;
      const [[up], [down]] = await Promise.all([at(step).data(), at(-step).data()]);
      expect((up! - down!) / (2 * step) / norm, part).toBeCloseTo(1, 1);
    }
    value.dispose();
    tf.dispose(grads);
  });
});

describe('initSam', () => {
  it('is a function of the seed', async () => {
    const [first, same, other] = [3, 3, 4].map((seed) => initSam(config, sizes, { seed })) as [
      Weights,
      Weights,
      Weights,
    ];
    const name = 'mask_decoder.mask_tokens.weight';
    expect(await first[name]!.data()).toEqual(await same[name]!.data());
    expect(await first[name]!.data()).not.toEqual(await other[name]!.data());
    for (const table of [first, same, other]) disposeWeights(table);
  });
});
