import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adam, bottleneckAligning, distill, embeddingAligning, type Features, type Forward } from '@slimsam/distill';
import { countParameters, prune } from '@slimsam/prune';
import { dims, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { type LoadedVit, loadVit, saveVit, vitAxes, vitFeatures, vitHead, vitTaps } from '../src/index.ts';
import { checkpoints, fileOf, imageValues, tiny } from './plain-checkpoints.ts';
import { differenceOf, every, pruneByTaylor, tokensOf, zeroed } from './plain-pruning.ts';
import { withWebgpu } from './support.ts';

withWebgpu();

const load = (name: string): Promise<LoadedVit> =>
  loadVit(fileOf(checkpoints[name]!(tiny), 7), { config: { heads: tiny.heads } });
const image = (seed = 1): tf.Tensor4D => tf.tensor4d(imageValues(16, 12, seed), [1, 3, 16, 12]);

const models = [
  'timm ViT',
  'Meta DINOv2 with registers',
  'Dinov2Model giant',
  'Dinov2ForImageClassification',
  'CLIPModel',
];
describe.each(models)('a pruned %s', (name) => {
  it.each(['blocks.0.head', 'blocks.1.head', 'blocks.0.mlp', 'blocks.1.mlp'])(
    'without channels of %s is the one with zeros there',
    async (dimension) => {
      const vit = await load(name);
      const size = dims(vitAxes(vit.weights, vit.config), vit.weights).get(dimension)!.size;
      expect(size).toBe(dimension.endsWith('head') ? 8 : 40);
      const kept = every(size, 3);
      const removed = prune(vit.weights, vitAxes(vit.weights, vit.config), { [dimension]: kept });
      const values = await tokensOf({ ...vit, weights: removed }, image());
      expect(
        differenceOf(values, await tokensOf({ ...vit, weights: zeroed(vit, dimension, kept) }, image())),
      ).toBeLessThan(1e-5);
      expect(differenceOf(values, await tokensOf(vit, image()))).toBeGreaterThan(1e-3);
    },
  );

  // zeros count in a layer norm's mean and variance, so the streams agree up to the first norm only
  it('without embedding channels is the one with zeros up to the first layer norm', async () => {
    const vit = await load(name);
    const kept = every(tiny.width, 4);
    const removed = prune(vit.weights, vitAxes(vit.weights, vit.config), { embed: kept });
    const streamOf = (weights: Weights) => {
      // CLIP has one before block 0
      const rest = Object.fromEntries(Object.entries(weights).filter(([name]) => !name.startsWith('norm_pre')));
      return vitFeatures(rest, vit.config, image(), { taps: ['patch_embed'] }).taps.patch_embed!;
    };
    const zero = tf.gather(streamOf(zeroed(vit, 'embed', kept)), tf.tensor1d(kept, 'int32'), 2);
    expect(await streamOf(removed).data()).toEqual(await zero.data());
  });

  it('with everything kept is the identity', async () => {
    const { weights, config } = await load(name);
    const axes = vitAxes(weights, config);
    const all = [...dims(axes, weights)].map(([dimension, { size }]) => [dimension, [...Array(size).keys()]] as const);
    expect(all.map(([dimension]) => dimension).sort()).toEqual(
      ['blocks.0.head', 'blocks.0.mlp', 'blocks.1.head', 'blocks.1.mlp', 'embed'].sort(),
    );
    const kept = prune(weights, axes, Object.fromEntries(all));
    for (const [name, weight] of Object.entries(weights)) {
      expect(kept[name]!.shape).toEqual(weight.shape);
      expect(await kept[name]!.data(), name).toEqual(await weight.data());
    }
  });

  it('by a quarter has the right widths, runs, and survives its file', async () => {
    const vit = await load(name);
    const narrow = await pruneByTaylor(vit, { dimensions: [['embed']], ranking: 'local' }, [image(1), image(2)]);
    const kinds = ['head', 'mlp'].map((kind) => [0, 1].map((i) => `blocks.${i}.${kind}`));
    const slim = await pruneByTaylor(narrow, { dimensions: kinds, ranking: 'global' }, [image(1), image(2)]);
    const found = dims(vitAxes(slim.weights, slim.config), slim.weights);
    const sizeOf = (dimension: string) => found.get(dimension)!.size;
    expect(sizeOf('embed')).toBe(18);
    expect(sizeOf('blocks.0.head') + sizeOf('blocks.1.head')).toBe(12);
    expect(sizeOf('blocks.0.mlp') + sizeOf('blocks.1.mlp')).toBe(60);
    expect(countParameters(slim.weights)).toBeLessThan(0.62 * countParameters(vit.weights)); // 0.75² for matrices, 0.75 for vectors
    const values = await tokensOf(slim, image());
    expect(values.every(Number.isFinite)).toBe(true);

    const folder = await mkdtemp(join(tmpdir(), 'plain-vit-'));
    try {
      await saveVit(join(folder, 'slim.safetensors'), slim);
      const loaded = await loadVit(join(folder, 'slim.safetensors'));
      expect(loaded.config).toEqual(vit.config);
      expect(await tokensOf(loaded, image())).toEqual(values);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

it("prunes a classifier's class token and mean patch alike", async () => {
  const { weights, config } = await load('Dinov2ForImageClassification');
  const kept = every(tiny.width, 4);
  const pruned = prune(weights, vitAxes(weights, config), { embed: kept });
  const columns = tf.tensor1d([...kept, ...kept.map((channel) => tiny.width + channel)], 'int32');
  expect(await pruned['head.weight']!.data()).toEqual(await tf.gather(weights['head.weight']!, columns, 1).data());
  const logits = vitHead(pruned, vitFeatures(pruned, config, image()));
  expect(logits.shape).toEqual([1, 5]);
  expect((await logits.data()).every(Number.isFinite)).toBe(true);
});

it.each(models)('gradients reach every weight that the features of a %s depend on', async (name) => {
  const { weights, config } = await load(name);
  const names = Object.keys(weights).filter((name) => !/^(head|mask_token|pooler)/.test(name));
  const pixels = image();
  const weigh = tf.cos(tf.range(0, 2000)); // a plain mean after a layer norm would not depend on its input
  const loss = (table: Weights) => {
    const { tokens } = vitFeatures({ ...weights, ...table }, config, pixels);
    return tf.mean(tf.mul(tokens, tf.reshape(tf.slice(weigh, 0, tokens.size), tokens.shape))) as tf.Scalar;
  };
  const table = (tensors: tf.Tensor[]) => Object.fromEntries(tensors.map((tensor, i) => [names[i]!, tensor]));
  const before = tf.memory().numTensors;
  const { value, grads } = tf.valueAndGrads((...tensors: tf.Tensor[]) => loss(table(tensors)))(
    names.map((name) => weights[name]!),
  );
  expect(tf.memory().numTensors).toBe(before + 1 + names.length);
  for (const [i, name] of names.entries()) {
    const [norm] = await tf.norm(grads[i]!).data();
    expect(norm, name).toBeGreaterThan(0);
    if (!/pos_embed|cls_token|register|norm_pre.weight|0.attn.qkv.weight|1.mlp.fc1.weight|ls1/.test(name)) continue;
    // along its own gradient g, scaled to |g| = 1, a weight changes the loss by |g|
    const at = (step: number) => loss({ [name]: tf.add(weights[name]!, tf.mul(grads[i]!, step / norm!)) }).data();
    const [[up], [down]] = await Promise.all([at(1e-2), at(-1e-2)]);
    expect((up! - down!) / 2e-2 / norm!, name).toBeCloseTo(1, 1);
  }
  value.dispose();
});

describe('a pruned DINOv2 is distilled', () => {
  const images = () => [1, 2].map((seed) => image(seed));
  const run = async (
    student: { weights: Weights; forward: Forward },
    teacher: { weights: Weights; forward: Forward },
    how: { taps: string[]; loss: (student: Features, teacher: Features) => ReturnType<typeof embeddingAligning> },
  ) => {
    const losses: number[] = [];
    for await (const { loss } of distill({
      student,
      teachers: { teacher },
      taps: () => how.taps,
      loss: (features, { teacher }) => how.loss(features, teacher),
      optimizer: adam(),
      learningRate: 3e-3,
      batches: images,
      accumulate: 2, // both images, so that the losses can be compared
      epochs: 4,
    }))
      losses.push(loss);
    return losses;
  };
  const expectFalling = (losses: number[]) => {
    expect(losses).toHaveLength(4);
    for (const [i, loss] of losses.entries()) if (i > 0) expect(loss).toBeLessThan(losses[i - 1]!);
    expect(losses[3]).toBeGreaterThan(0);
  };

  it('with narrow heads and MLPs, on the tokens and the stream', async () => {
    const vit = await load('Meta DINOv2 with registers');
    const kinds = ['head', 'mlp'].map((kind) => [0, 1].map((i) => `blocks.${i}.${kind}`));
    const { weights } = await pruneByTaylor(vit, { dimensions: kinds, ranking: 'global' }, images());
    const forward: Forward = (table, batch, taps) => {
      const { tokens, taps: tapped } = vitFeatures(table, vit.config, batch, { taps });
      return { embedding: tokens, taps: tapped };
    };
    const taps = vitTaps(weights).embedding;
    expectFalling(
      await run(
        { weights, forward },
        { weights: vit.weights, forward },
        {
          taps,
          loss: (student, teacher) => embeddingAligning({ student, teacher, previous: teacher, taps, a: 0.5 }),
        },
      ),
    );
  });

  it('with a narrow stream, on the bottleneck and the patches that are left', async () => {
    const vit = await load('Meta DINOv2 with registers');
    const kept = every(tiny.width, 4);
    const weights = prune(vit.weights, vitAxes(vit.weights, vit.config), { embed: kept });
    const forward: Forward = (table, batch, taps) => vitFeatures(table, vit.config, batch, { taps });
    const left: Forward = (table, batch, taps) => {
      const { embedding, taps: tapped } = vitFeatures(table, vit.config, batch, { taps });
      return { embedding: tf.gather(embedding, tf.tensor1d(kept, 'int32'), 1), taps: tapped };
    };
    const taps = vitTaps(weights).bottleneck;
    expectFalling(
      await run(
        { weights, forward },
        { weights: vit.weights, forward: left },
        {
          taps: Object.values(taps).flat(),
          loss: (student, teacher) => bottleneckAligning({ student, teacher, taps, a: 0.5 }),
        },
      ),
    );
  });
});
