import { createHash } from 'node:crypto';
import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import { disposeWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { importance, prune, select } from '../src/index.ts';
import { normalise } from '../src/normalise.ts';
import { averageHeads } from '../src/select-reference.ts';
import {
  depth,
  expected,
  gradientsOf,
  heads,
  relativeError,
  splitAxes,
  splitModelOf,
  tensors,
  values,
} from './fixture.ts';

let backend: WebgpuBackend;
beforeAll(async () => {
  backend = await useWebgpu();
});
afterAll(() => backend.dispose());

/** Largest relative error of any single score. */
function elementError(got: Float32Array, wanted: Float32Array): number {
  return Math.max(...wanted.map((x, i) => Math.abs(got[i]! - x) / Math.abs(x)));
}

test.each([
  ['taylor', 'disturbed_taylor'],
  ['magnitude', 'magnitude'],
] as const)('stage 1, %s: importance and kept embedding of the reference', async (criterion, name) => {
  const weights = tensors('teacher.');
  const gradients = await gradientsOf('stage1');
  const scores = await importance({ criterion, weights, gradients, axes: splitAxes(), dimensions: ['embed'] });
  const grouped = normalise(averageHeads(scores.embed!, heads), 'mean');
  expect(elementError(grouped, values(`stage1.${name}.importance`))).toBeLessThan(1e-4);
  const { keep: kept } = select({
    importance: scores,
    ratio: 0.5,
    ranking: 'local',
    normalise: 'mean',
    roundTo: heads,
    reference: { averageHeads: heads },
  });
  expect(kept.embed).toEqual(expected.stage1[name].keptEmbedding);
  tf.dispose([weights, gradients.sums]);
});

test('stage 1: the surgery is the reference exactly, and the relative positions stay', async () => {
  const before = tf.memory().numTensors;
  const weights = tensors('teacher.');
  const pruned = prune(weights, splitAxes(), { embed: expected.stage1.disturbed_taylor.keptEmbedding });
  for (const [name, hash] of Object.entries(expected.prunedSha256)) {
    const data = (await pruned[name]!.data()) as Float32Array;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    expect(createHash('sha256').update(bytes).digest('hex'), name).toBe(hash);
  }
  for (const name of Object.keys(weights).filter((key) => key.includes('rel_pos'))) {
    expect(await pruned[name]!.data()).toEqual(await weights[name]!.data());
  }
  disposeWeights(weights);
  disposeWeights(pruned);
  expect(tf.memory().numTensors).toBe(before);
});

test.each(['global', 'uniform'] as const)(
  'stage 2, %s: importances and kept channels of the reference',
  async (way) => {
    const axes = splitAxes();
    const weights = splitModelOf('stage2');
    const gradients = await gradientsOf('stage2');
    const names = Array.from({ length: depth }, (_, i) => `blocks.${i}`);
    const ranking = way === 'global' ? 'global' : 'local';
    const shared = { ratio: 0.5, ranking, normalise: 'standard', roundTo: heads } as const;
    const score = (part: string) =>
      importance({ criterion: 'taylor', weights, gradients, axes, dimensions: names.map((b) => `${b}.${part}`) });

    const attention = await score('attn');
    const mlp = await score('mlp');
    for (const b of names) {
      const headScores = normalise(averageHeads(attention[`${b}.attn`]!, heads), 'standard');
      expect(elementError(headScores, values(`stage2.global.attention.importance.${b}.attn.v`))).toBeLessThan(1e-3);
      const mlpScores = normalise(mlp[`${b}.mlp`]!, 'standard');
      expect(relativeError(mlpScores, values(`stage2.global.mlp.importance.${b}.mlp.lin1`))).toBeLessThan(1e-3);
    }
    const { keep: keptHeads } = select({
      ...shared,
      importance: attention,
      reference: { averageHeads: heads, roundByIndex: true },
    });
    const { keep: keptMlp } = select({ ...shared, importance: mlp, reference: { roundByIndex: true } });
    for (const b of names) {
      const reference = expected.stage2[way].kept[b]!;
      expect(keptHeads[`${b}.attn`]).toEqual(reference.q);
      expect(reference.k).toEqual(reference.q);
      expect(reference.v).toEqual(reference.q);
      expect(keptMlp[`${b}.mlp`]).toEqual(reference.mlp);
    }
    tf.dispose([weights, gradients.sums]);
  },
);

test('stage 2, global: by score instead of by index, the same widths but other channels stay', async () => {
  const importanceOf = (i: number) => values(`stage2.global.mlp.importance.blocks.${i}.mlp.lin1`);
  const scores = Object.fromEntries(Array.from({ length: depth }, (_, i) => [`blocks.${i}`, importanceOf(i)]));
  const how = { ratio: 0.5, ranking: 'global', normalise: 'none', roundTo: heads } as const;
  const { keep: kept } = select({ importance: scores, ...how, reference: {} });
  let other = 0;
  for (const [name, channels] of Object.entries(kept)) {
    const reference = expected.stage2.global.kept[name]!.mlp;
    expect(channels.length).toBe(reference.length);
    other += channels.filter((channel) => !reference.includes(channel)).length;
    const worstKept = Math.min(...channels.map((channel) => scores[name]![channel]!));
    const fallen = [...scores[name]!.keys()].filter((channel) => !channels.includes(channel));
    expect(Math.max(...fallen.map((channel) => scores[name]![channel]!))).toBeLessThanOrEqual(worstKept);
  }
  expect(other).toBeGreaterThan(0);
  // without the reference's rounding up, half of the 768 channels stay
  expect(Object.values(select({ importance: scores, ...how }).keep).flat().length).toBe(384);
});
