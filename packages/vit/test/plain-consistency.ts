import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { countMacs, prune } from '@slimsam/prune';
import { dims } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import { loadVit, saveVit, vitAxes, vitCosts } from '../src/index.ts';
import { checkpoints, fileOf, imageValues, type Sizes } from './plain-checkpoints.ts';
import { differenceOf, every, pruneByTaylor, tokensOf, zeroed } from './plain-pruning.ts';

/** Loads a checkpoint with random weights, runs it, prunes a quarter of it, saves it and loads it again. */
export async function staysConsistent(
  name: string,
  sizes: Sizes,
  { imageSize, input: [height, width] }: { imageSize: [number, number]; input: [number, number] },
): Promise<void> {
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
}
