import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import {
  encodePrompts,
  initSam,
  type SamConfig,
  samPresets,
  withAxisFrequencies,
  withSideHeads,
} from '../src/index.ts';
import { withWebgpu } from './support.ts';

withWebgpu();

const attention = 'mask_decoder.transformer.layers.1.cross_attn_image_to_token';
const { config: tiny, sizes } = samPresets.tiny;
const config: SamConfig = { ...tiny, decoderHeads: 2 };
const wide = { ...sizes, promptWidth: 64 }; // 32 frequencies, of which 16 along each axis; two heads of 16 channels

/** What a head's logits add for a token at each of the places, by the projections' weights alone: [heads][places]. */
async function logitsOf(weights: Weights, places: readonly number[][], token: number[]): Promise<number[][]> {
  const [q, k] = await Promise.all(
    ['q_proj', 'k_proj'].map(async (name) => [...(await weights[`${attention}.${name}.weight`]!.data())]),
  );
  const matrix = [...(await weights['prompt_encoder.pe_layer.positional_encoding_gaussian_matrix']!.data())];
  const n = matrix.length / 2;
  const features = ([x, y]: readonly number[]) => {
    const angles = Array.from({ length: n }, (_, i) => 2 * Math.PI * (x! * matrix[i]! + y! * matrix[n + i]!));
    return [...angles.map(Math.sin), ...angles.map(Math.cos)];
  };
  const projected = (rows: readonly number[], place: readonly number[]) => {
    const own = features(place);
    return Array.from({ length: n }, (_, row) => own.reduce((sum, v, i) => sum + v * rows[row * 2 * n + i]!, 0));
  };
  const D = n / config.decoderHeads;
  const key = projected(k!, token);
  return Array.from({ length: config.decoderHeads }, (_, head) =>
    places.map((place) => {
      const query = projected(q!, place);
      let sum = 0;
      for (let i = head * D; i < (head + 1) * D; i++) sum += query[i]! * key[i]!;
      return sum / Math.sqrt(D);
    }),
  );
}

it('heads tell whether a place is right of a token, and below it, wherever the token is', async () => {
  const weights = initSam(config, wide, { seed: 1 });
  const along = await withAxisFrequencies(weights, { count: 32, seed: 1 });
  const sides = await withSideHeads(along, { heads: 2 });
  const steps = Array.from({ length: 16 }, (_, i) => (i + 1) / 16); // in halves of the image
  for (const token of [
    [0, 0],
    [-0.37, 0.61],
  ]) {
    const after = steps.map((d) => [token[0]! + d, token[1]! + d]);
    const before = steps.map((d) => [token[0]! - d, token[1]! - d]);
    const [x, y] = await logitsOf(sides, after, token);
    for (const values of [x!, y!]) {
      expect(Math.min(...values)).toBeGreaterThan(0.5); // a step but for its ripples
      expect(Math.max(...values)).toBeLessThan(7);
    }
    const opposite = await logitsOf(sides, before, token);
    opposite[0]!.forEach((value, i) => {
      expect(value).toBeCloseTo(-x![i]!, 4);
    });
    const across = await logitsOf(sides, [[token[0]! + 0.4, token[1]! - 0.4]], token);
    expect(across[0]![0]).toBeGreaterThan(1);
    expect(across[1]![0]).toBeLessThan(-1);
  }
  const prompts = encodePrompts(sides, config, { boxes: tf.tensor2d([[1, 2, 9, 9]]) });
  expect(prompts.sparse.shape).toEqual([1, 2, 64]);
  for (const [name, weight] of Object.entries(sides))
    if (!name.startsWith(attention) || !/[qk]_proj\.weight$/.test(name))
      expect(await weight.data(), name).toEqual(await along[name]!.data());
  tf.dispose([prompts.sparse, prompts.dense]);
  for (const made of [weights, along, sides]) disposeWeights(made);
});

it('random directions, and what is no decoder, are refused', async () => {
  const weights = initSam(config, wide, { seed: 1 });
  await expect(withSideHeads(weights, { heads: 2 })).rejects.toThrow(
    'withSideHeads: expected two position frequencies along each axis and two channels a head, got 32 channels for 2 heads; withAxisFrequencies',
  );
  await expect(withSideHeads({}, { heads: 2 })).rejects.toThrow(
    "withSideHeads: expected a SAM's mask decoder, got no '",
  );
  disposeWeights(weights);
});
