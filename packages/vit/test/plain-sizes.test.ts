import { countParameters } from '@slimsam/prune';
import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { loadVit } from '../src/index.ts';
import { checkpoints, clipB32, dinov2Small, fileOf, imageValues, type Shapes, tinyVit } from './plain-checkpoints.ts';
import { staysConsistent } from './plain-consistency.ts';
import { tokensOf } from './plain-pruning.ts';
import { withWebgpu } from './support.ts';

withWebgpu();

/** Only shapes, as in the checkpoint. */
const shapesOf = (shapes: Shapes) =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, { shape }]));

// as published: timm's model cards, Meta's and transformers' own counts
it.each([
  ['timm ViT', tinyVit, 5_717_416],
  ['Meta DINOv2', dinov2Small, 22_056_576],
  ['Meta DINOv2 with registers', dinov2Small, 22_058_112],
  ['CLIPVisionModel', clipB32, 87_456_000],
])('the made-up checkpoint of a %s has as many parameters as the published one', (name, sizes, parameters) => {
  expect(countParameters(shapesOf(checkpoints[name]!(sizes)))).toBe(parameters);
});

it('a ViT-Tiny runs at its own size', async () => {
  const vit = await loadVit(fileOf(checkpoints['timm ViT']!(tinyVit)));
  const tokens = await tokensOf(vit, tf.tensor4d(imageValues(224, 224), [1, 3, 224, 224]));
  expect(tokens).toHaveLength(197 * 192);
  expect(tokens.every(Number.isFinite)).toBe(true);
});

it('a ViT-Tiny loads, runs, is pruned by a quarter and stays consistent', () =>
  staysConsistent('timm ViT', tinyVit, { imageSize: [224, 224], input: [64, 80] }));

it("a narrow CLIP tower of ViT-B/32's depth, heads of 64 and patch does so too", () =>
  staysConsistent(
    'CLIPVisionModel',
    { ...clipB32, width: 256, heads: 4, mlp: 1024 },
    { imageSize: [224, 224], input: [128, 96] },
  ));
