import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { countMacs, countParameters, prune } from '@slimsam/prune';
import { dims } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { loadVit, saveVit, vitAxes, vitCosts } from '../src/index.ts';
import { checkpoints, fileOf, imageValues, type Shapes, type Sizes } from './plain-checkpoints.ts';
import { differenceOf, every, pruneByTaylor, tokensOf, zeroed } from './plain-pruning.ts';
import { withWebgpu } from './support.ts';

withWebgpu();

const tinyVit: Sizes = { width: 192, depth: 12, heads: 3, mlp: 768, patch: 16, grid: [14, 14], classes: 1000 };
const dinov2Small: Sizes = { width: 384, depth: 12, heads: 6, mlp: 1536, patch: 14, grid: [37, 37], registers: 4 };
const clipB32: Sizes = { width: 768, depth: 12, heads: 12, mlp: 3072, patch: 32, grid: [7, 7] };

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

// the narrow CLIP tower has the depth, head width and patch of ViT-B/32
const models: [string, Sizes, { imageSize: [number, number]; input: [number, number] }][] = [
  ['timm ViT', tinyVit, { imageSize: [224, 224], input: [64, 80] }],
  ['Meta DINOv2', dinov2Small, { imageSize: [518, 518], input: [56, 42] }],
  ['Dinov2WithRegistersModel', dinov2Small, { imageSize: [518, 518], input: [42, 70] }],
  ['CLIPVisionModel', { ...clipB32, width: 256, heads: 4, mlp: 1024 }, { imageSize: [224, 224], input: [128, 96] }],
];
it('a ViT-Tiny runs at its own size', async () => {
  const vit = await loadVit(fileOf(checkpoints['timm ViT']!(tinyVit)));
  const tokens = await tokensOf(vit, tf.tensor4d(imageValues(224, 224), [1, 3, 224, 224]));
  expect(tokens).toHaveLength(197 * 192);
  expect(tokens.every(Number.isFinite)).toBe(true);
});

describe.each(models)('a %s', (name, sizes, { imageSize, input: [height, width] }) => {
  it('loads, runs, is pruned by a quarter and stays consistent', async () => {
    const vit = await loadVit(fileOf(checkpoints[name]!(sizes)));
    expect(vit.config).toMatchObject({ heads: sizes.heads, headWidth: 64, imageSize });
    const image = tf.tensor4d(imageValues(height, width), [1, 3, height, width]);
    const registers = 'register_tokens' in vit.weights ? sizes.registers! : 0;
    const tokens = 1 + registers + (height / sizes.patch) * (width / sizes.patch);
    expect(await tokensOf(vit, image)).toHaveLength(tokens * sizes.width);

    const blocks = Array.from({ length: sizes.depth }, (_, i) => i);
    const head = { 'blocks.5.head': every(64, 4) };
    const cut = await tokensOf({ ...vit, weights: prune(vit.weights, vitAxes(vit.weights, vit.config), head) }, image);
    const zero = await tokensOf({ ...vit, weights: zeroed(vit, 'blocks.5.head', head['blocks.5.head']) }, image);
    expect(differenceOf(cut, zero)).toBeLessThan(1e-5);

    const kinds = ['head', 'mlp'].map((kind) => blocks.map((i) => `blocks.${i}.${kind}`));
    const slim = await pruneByTaylor(vit, { dimensions: [['embed'], ...kinds], ranking: 'global' }, [image]);
    const found = dims(vitAxes(slim.weights, slim.config), slim.weights);
    const total = (kind: string) => blocks.reduce((sum, i) => sum + found.get(`blocks.${i}.${kind}`)!.size, 0);
    const C = 0.75 * sizes.width;
    expect([found.get('embed')!.size, total('head'), total('mlp')]).toEqual([
      C,
      0.75 * 64 * sizes.depth,
      0.75 * sizes.mlp * sizes.depth,
    ]);
    const { macs, macsWithAttention } = countMacs(
      slim.weights,
      vitCosts(slim.weights, slim.config, { imageSize: [height, width] }),
    );
    const inner = 0.75 * sizes.width * sizes.depth; // of all blocks
    const patches = tokens - 1 - registers;
    const matrices = patches * C * 3 * sizes.patch ** 2 + tokens * C * (4 * inner + 2 * total('mlp'));
    expect({ macs, macsWithAttention }).toEqual({
      macs: matrices,
      macsWithAttention: matrices + 2 * tokens ** 2 * inner,
    });

    const values = await tokensOf(slim, image);
    expect(values).toHaveLength(tokens * C);
    expect(values.every(Number.isFinite)).toBe(true);
    const folder = await mkdtemp(join(tmpdir(), 'plain-vit-'));
    try {
      await saveVit(join(folder, 'slim.safetensors'), slim);
      const loaded = await loadVit(join(folder, 'slim.safetensors'));
      expect(await tokensOf(loaded, image)).toEqual(values);
      tf.dispose([vit, slim, loaded].map(({ weights }) => weights));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
