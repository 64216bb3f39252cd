import { bottleneckTaps, embeddingTaps } from '@slimsam/vit';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { adam, bottleneckAligning, bottleneckAlpha, distill, embeddingAligning, embeddingAlpha } from '../src/index.ts';
import { config, type Fixture, forward, readFixture } from './fixture.ts';
import { relativeError, withWebgpu } from './support.ts';

withWebgpu();
let fixture: Fixture;
beforeAll(async () => {
  fixture = await readFixture();
});

const read = async (x: tf.Tensor) => (await x.data())[0]!;

test('stage 1: four terms, total and gradients are the reference’s (its global q/k/v term corrected)', async () => {
  const { teacher, student, image, raw } = fixture;
  const taps = bottleneckTaps(teacher, config);
  const gradients: Record<string, tf.Tensor> = {};
  const losses = [];
  for await (const { loss, parts, state } of distill({
    student: { forward, weights: student },
    teachers: { teacher: { forward, weights: teacher } },
    taps: () => Object.values(taps).flat(),
    loss: (features, { teacher }) => bottleneckAligning({ student: features, teacher, taps, a: 0.5 }),
    optimizer: adam({ beta1: 0 }), // then the first moment is the gradient
    learningRate: 1e-4,
    batches: () => [tf.clone(image)],
    epochs: 1,
  })) {
    losses.push({ loss, parts });
    for (const [name, m] of Object.entries(state.optimizer.m)) gradients[name] = tf.clone(m);
  }
  const { loss, parts } = losses[0]!;
  expect(Object.keys(parts)).toEqual(['embedding', 'windowQkv', 'globalQkv', 'mlpHidden']);
  Object.values(parts).forEach((part, i) => {
    expect(part).toBeGreaterThan(0);
    expect(Math.abs(part / raw['bottleneck_loss.parts']!.data[i]! - 1)).toBeLessThan(1e-4);
  });
  expect(Math.abs(loss / raw['bottleneck_loss.total']!.data[0]! - 1)).toBeLessThan(1e-4);

  const wanted = Object.keys(raw).filter((name) => name.startsWith('grad.'));
  expect(Object.keys(gradients).sort()).toEqual(wanted.map((name) => name.slice(5)).sort());
  for (const name of wanted) {
    const values = await gradients[name.slice(5)]!.data();
    const error = relativeError(
      values.filter((_, i) => i % 7 === 0),
      raw[name]!.data,
    );
    expect(error, name).toBeLessThan(1e-3);
  }
  tf.dispose(gradients);
});

test('stage 2: the image embedding and the block embeddings are the reference’s', async () => {
  const { teacher, student, image, raw } = fixture;
  const taps = embeddingTaps(teacher, config);
  const original = forward(teacher, image, taps);
  const features = forward(student, image, taps);
  const { total, parts } = embeddingAligning({
    student: features,
    teacher: original,
    previous: original,
    taps,
    a: 0.25,
  });
  const [embedding, blocks] = raw['embedding_loss.parts']!.data;
  expect((await read(parts.embedding!)) / embedding!).toBeCloseTo(1, 4);
  expect((await read(parts.blockEmbeddings!)) / blocks!).toBeCloseTo(1, 4);
  expect((await read(parts.previousEmbedding!)) / embedding!).toBeCloseTo(1, 4);
  expect((await read(total)) / (0.75 * embedding! + 0.25 * (blocks! + embedding!))).toBeCloseTo(1, 4);
});

test('a term takes one mean over the elements of all its blocks; at a = 0 no taps are needed', async () => {
  const features = (...values: number[][]) => ({
    embedding: tf.tensor1d([values.length]),
    taps: Object.fromEntries(values.map((v, i) => [`t${i}`, tf.tensor1d(v)])),
  });
  const teacher = features([0, 0, 0, 0], [0, 0]);
  const student = features([1, 1, 1, 1], [3, 3]);
  const taps = { windowQkv: ['t0', 't1'], globalQkv: ['t0'], mlpHidden: ['t1'] };
  const { parts } = bottleneckAligning({ student, teacher, taps, a: 0.5 });
  expect(await read(parts.windowQkv!)).toBeCloseTo((4 * 1 + 2 * 9) / 6);
  expect(await read(parts.globalQkv!)).toBeCloseTo(1);
  expect(await read(parts.mlpHidden!)).toBeCloseTo(9);
  const bare = { ...student, taps: {} };
  expect(Object.keys(bottleneckAligning({ student: bare, teacher, taps, a: 0 }).parts)).toEqual(['embedding']);
  expect(() => bottleneckAligning({ student: bare, teacher, taps, a: 0.5 })).toThrow("expected tap 't0', got none");
  expect(() => bottleneckAligning({ student: features([1], [1, 1]), teacher, taps, a: 0.5 })).toThrow(
    "expected student's 't0' in the teacher's shape [4], got [1]",
  );
});

test('the weights of the aligning terms over the epochs', () => {
  const over = (weight: (epoch: number, epochs: number) => number, epochs: number) =>
    Array.from({ length: epochs }, (_, epoch) => weight(epoch, epochs));
  expect(over(bottleneckAlpha, 4)).toEqual([0.5, 0.5, 0, 0]);
  expect(over(bottleneckAlpha, 20).filter((a) => a === 0.5)).toHaveLength(10);
  expect(over(embeddingAlpha, 8)).toEqual([0.75, 0.5, 0.25, 0, 0, 0, 0, 0]);
  for (const few of [1, 2, 3]) expect(over(embeddingAlpha, few)).toEqual([0.5, 0, 0].slice(0, few));
  expect(over((epoch, epochs) => embeddingAlpha(epoch, epochs, { N: 11 }), 20).filter((a) => a > 0)).toHaveLength(10);
  expect(embeddingAlpha(0, 20, { N: 11 })).toBe(10 / 11);
  expect(() => embeddingAlpha(0, 20, { N: Number.NaN })).toThrow('embeddingAlpha: expected N to be 1, 2, …, got NaN');
});
