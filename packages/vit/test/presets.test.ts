import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { encodeImage, initSam, parseSamConfig, samPresets } from '../src/index.ts';
import { blockOfToken } from './block-reference.ts';
import { formulaWeights, shapesOf } from './formula.ts';
import { withWebgpu } from './support.ts';

withWebgpu();

const size = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

it.each([
  ['sam-vit-base', 93_735_472],
  ['sam-vit-large', 312_342_832],
  ['sam-vit-huge', 641_090_608],
] as const)("%s has segment-anything's number of parameters", (name, parameters) => {
  const shapes = Object.entries(shapesOf(samPresets[name]));
  const trained = shapes.filter(([weight]) => !weight.includes('gaussian')); // a buffer, not a parameter
  expect(trained.reduce((sum, [, shape]) => sum + size(shape), 0)).toBe(parameters);
});

it('initSam makes the weights of a preset, a pure function of the seed', async () => {
  const { config, sizes } = samPresets.tiny;
  const weights = initSam(config, sizes, { seed: 1 });
  const shapes = Object.entries(weights).map(([name, { shape }]) => [name, shape]);
  expect(Object.fromEntries(shapes)).toEqual(shapesOf(samPresets.tiny));
});

/** On a grid of 16 x 16 patches, so that four windows of 14 are padded and the reference ends in time. */
describe.each(['sam-vit-large', 'sam-vit-huge'] as const)('a window block and a global block of %s', (name) => {
  it('agree with float64', async () => {
    const preset = samPresets[name];
    const small = {
      config: parseSamConfig({ ...preset.config, imageSize: 256, globalBlocks: [1] }),
      sizes: { ...preset.sizes, depth: 2 },
    };
    const { heads, windowSize } = small.config;
    const weights = formulaWeights(shapesOf(small));
    const image = tf.randomNormal<tf.Rank.R4>([1, 3, 256, 256], 0, 1, 'float32', 3);
    const { taps, embedding } = encodeImage(weights, small.config, image, {
      taps: ['patch_embed', 'blocks.0', 'blocks.1'],
    });
    expect((await embedding.data()).every(Number.isFinite)).toBe(true);
    const stream = await Promise.all(
      ['patch_embed', 'blocks.0', 'blocks.1'].map((tap) => taps[tap]!.data<'float32'>()),
    );
    const [C, grid] = [small.sizes.width, 16];
    // in a padded window; anywhere
    const tokens: [number, number][] = [
      [15, 14],
      [7, 12],
    ];
    for (const [i, side] of [windowSize, grid].entries()) {
      const [row, column] = tokens[i]!;
      const block = { name: `image_encoder.blocks.${i}`, heads, side, grid };
      const expected = blockOfToken(block, stream[i]!, [row, column]);
      const actual = stream[i + 1]!.subarray((row * grid + column) * C);
      const range = Math.max(...expected) - Math.min(...expected);
      const worst = expected.reduce((most, value, c) => Math.max(most, Math.abs(value - actual[c]!)), 0);
      expect(worst / range).toBeLessThan(2e-5); // float32 sums of up to 5,120 products: 1e-6 is seen
    }
  });
});
