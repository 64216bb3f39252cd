import '@tensorflow/tfjs-backend-cpu';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { saveWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keepBest, loadTraining, plateau, saveTraining } from '../src/index.ts';

let folder = '';
beforeAll(async () => {
  await tf.setBackend('cpu');
  folder = await mkdtemp(join(tmpdir(), 'distill-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('a state, the best weights, a plateau before its first metric and notes go through one file', async () => {
  const path = join(folder, 'all.safetensors');
  const table = (value: number) => ({ 'a:b.weight': tf.tensor2d([[value, value + 0.1]]) });
  const state = {
    weights: table(1),
    optimizer: { step: 3, m: table(2), v: table(3) },
    position: { epoch: 1, batch: 2, step: 3 },
  };
  const rate = plateau({ learningRate: 0.1, patience: 3 });
  const notes = { seeds: [1, 2] };
  await saveTraining(path, state, { best: { metric: -1, weights: table(4) }, plateau: rate.state(), notes });
  const loaded = await loadTraining(path);
  const values = [loaded.state.weights, loaded.state.optimizer.m, loaded.state.optimizer.v, loaded.best!.weights];
  for (const [i, { 'a:b.weight': x }] of values.entries())
    expect([...(await x!.data())]).toEqual([Math.fround(i + 1), Math.fround(i + 1.1)]);
  expect(loaded.state.position).toEqual(state.position);
  expect([loaded.state.optimizer.step, loaded.best!.metric]).toEqual([3, -1]);
  expect(loaded.plateau).toEqual({ learningRate: 0.1, best: null, bad: 0 });
  expect(loaded.notes).toEqual(notes);

  await saveTraining(path, state);
  expect(await loadTraining(path)).toMatchObject({ best: undefined, plateau: undefined, notes: null });
});

test('files of something else are refused, and leave no tensors', async () => {
  const path = join(folder, 'other.safetensors');
  const x = tf.tensor1d([1]);
  await saveWeights(path, { x });
  const before = tf.memory().numTensors;
  await expect(loadTraining(path)).rejects.toThrow(`expected '${path}' to be a file of saveTraining`);
  expect(tf.memory().numTensors).toBe(before);
  await writeFile(path, 'nonsense');
  await expect(loadTraining(path)).rejects.toThrow(path);
});

test('names that a file chooses reach no object but their own table', async () => {
  const path = join(folder, 'names.safetensors');
  const training = {
    format: 'slimsam-training',
    position: { epoch: 0, batch: 0, step: 0 },
    optimizerStep: 0,
    notes: 0,
  };
  const metadata = { training: JSON.stringify(training) };
  const before = tf.memory().numTensors;
  for (const name of ['__proto__:isAdmin', 'constructor:x', 'toString:x', 'weights', 'weight', 'best:b']) {
    const x = tf.tensor1d([1]);
    await saveWeights(path, { [name]: x }, { metadata });
    x.dispose();
    const said =
      name === 'best:b' ? 'best weights without their metric' : `a tensor '${name}', not weight:, m:, v:, best:`;
    await expect(loadTraining(path)).rejects.toThrow(said);
    expect('isAdmin' in {}).toBe(false);
    expect(tf.memory().numTensors).toBe(before);
  }
  const w = tf.tensor1d([1]);
  await saveWeights(path, { 'weight:__proto__': w, 'm:constructor': w }, { metadata });
  const { state } = await loadTraining(path);
  expect([Object.keys(state.weights), Object.keys(state.optimizer.m)]).toEqual([['__proto__'], ['constructor']]);
  tf.dispose([w, Object.values(state.weights), Object.values(state.optimizer.m)]);
  expect(tf.memory().numTensors).toBe(before);
});

test('the keeper copies the best weights, and frees those of before', async () => {
  const before = tf.memory().numTensors;
  const keeper = keepBest();
  for (const [metric, best] of [
    [Number.NaN, false],
    [0.2, true],
    [0.2, false],
    [0.3, true],
    [0.1, false],
  ] as const) {
    const weights = { w: tf.scalar(metric) };
    expect(keeper.offer(metric, weights)).toBe(best);
    tf.dispose(weights);
  }
  expect(keeper.best!.metric).toBe(0.3);
  expect((await keeper.best!.weights.w!.data())[0]).toBeCloseTo(0.3);
  const later = keepBest(keeper.best);
  keeper.dispose();
  expect((await later.best!.weights.w!.data())[0]).toBeCloseTo(0.3);
  later.dispose();
  expect(tf.memory().numTensors).toBe(before);
});
