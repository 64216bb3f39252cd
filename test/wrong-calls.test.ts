/** What callers without TypeScript can get wrong: one clear error each, at once, that names the call and the field; no tensor stays. */
import '@tensorflow/tfjs-backend-cpu';
import '@slimsam/tensor-webgpu/ops';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adam, distill, loadTraining, plateau, saveTraining, train } from '@slimsam/distill';
import { decodeRle, encodeRle, maskIou, meanIou } from '@slimsam/eval';
import {
  accumulateActivations,
  accumulateGradients,
  applyPlan,
  countParameters,
  importance,
  noise,
  parametersTarget,
  plan,
  prune,
  select,
} from '@slimsam/prune';
import { createPredictor, encoderAxes, loadEmbedding, loadSam, resizeSam, saveSam } from '@slimsam/vit';
import { dims, linear, openTensors, saveWeights, scope } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { compress, evaluateSam } from 'slimsam';
import { openRun } from 'slimsam/node';
import { afterAll, beforeAll, expect, test } from 'vitest';

/** What TypeScript would not let through. */
const wrong = (value: unknown) => value as never;
const axes = linear('a', 'out', 'in');
const scores = { out: Float32Array.of(1, 2, 3, 4) };
const how = { ranking: 'local', normalise: 'mean' } as const;
let weights: Record<string, tf.Tensor>;
let folder: string;
beforeAll(async () => {
  await tf.setBackend('cpu');
  weights = { 'a.weight': tf.ones([4, 3]), 'a.bias': tf.ones([4]) };
  folder = await mkdtemp(join(tmpdir(), 'wrong-calls-'));
  await writeFile(join(folder, 'file'), 'x');
});
afterAll(() => rm(folder, { recursive: true }));

const training = (more: object) =>
  train(
    wrong({
      ...{ weights, batches: () => [tf.ones([1])], optimizer: adam(), epochs: 1, learningRate: 0.1 },
      loss: (w: Record<string, tf.Tensor>) => ({ total: tf.sum(w['a.bias']!), parts: {} }),
      ...more,
    }),
  ).next();

const calls: [string, () => unknown, string][] = [
  ['loadSam(undefined)', () => loadSam(wrong(undefined)), 'expected a path, an address, bytes'],
  ['loadSam({})', () => loadSam(wrong({})), 'expected a path, an address, bytes'],
  ['openTensors(3)', () => openTensors(wrong(3)), 'got 3'],
  ['loadEmbedding(null)', () => loadEmbedding(wrong(null)), 'got null'],
  ['saveSam without a SAM', () => saveSam('x.safetensors', wrong(undefined)), 'saveSam: expected options'],
  ['createPredictor(null)', () => createPredictor(wrong(null), wrong({})), 'weights to be an object, got null'],
  ['createPredictor without a config', () => createPredictor(weights, wrong(undefined)), 'config to be an object'],
  ['encoderAxes(undefined)', () => encoderAxes(wrong(undefined), wrong({})), 'weights to be an object, got none'],
  ['resizeSam(1.5)', () => resizeSam(wrong({ weights, config: { patchSize: 16 } }), 1.5), 'a multiple of the patch'],
  ['dims(undefined)', () => dims(wrong(undefined), weights), 'dims: expected axes to be an object, got none'],
  ['dims without weights', () => dims(axes, wrong(null)), 'dims: expected weights to be an object, got null'],
  ['scope(null)', () => scope(wrong(null), 'a'), 'scope: expected a table of weights'],
  ['a dtype that is none', () => saveWeights(join(folder, 'x.safetensors'), weights, wrong({ dtype: 'F8' })), 'F8'],
  ['importance(undefined)', () => importance(wrong(undefined)), 'importance: expected options { weights'],
  [
    'importance without dimensions',
    () => importance(wrong({ criterion: 'magnitude', weights, axes })),
    'importance: expected dimensions to be a list, got none',
  ],
  [
    "a criterion named 'toString'",
    () => importance({ criterion: wrong('toString'), weights, axes, dimensions: ['out'] }),
    "got 'toString'",
  ],
  ['select(null)', () => select(wrong(null)), 'select: expected options { importance }, got null'],
  [
    'select with importance null',
    () => select({ importance: wrong(null), ratio: 0.5, ...how }),
    'select: expected importance to be an object, got null',
  ],
  ['a misspelt ranking', () => select({ importance: scores, ratio: 0.5, ...how, ranking: wrong('globl') }), "'globl'"],
  [
    'a misspelt normaliser',
    () => select({ importance: scores, ratio: 0.5, ...how, normalise: wrong('man') }),
    "got 'man'",
  ],
  [
    'a width of 1.5',
    () => select({ importance: scores, ratio: 0.5, ...how, roundTo: 1.5 }),
    'positive integer, got 1.5',
  ],
  ['a ratio of NaN', () => select({ importance: scores, ratio: Number.NaN, ...how }), 'got NaN'],
  ['plan()', () => plan(wrong(undefined)), 'plan: expected options'],
  [
    'a target of NaN',
    () => plan({ weights, axes, importance: scores, ...how, target: parametersTarget(Number.NaN) }),
    'a target of more than 0',
  ],
  ['applyPlan(null)', () => applyPlan(wrong(null), weights), 'plan to be an object, got null'],
  ['prune with keep = 3', () => prune(weights, axes, wrong(3)), 'lists of kept channels by dimension, got 3'],
  ['prune(null)', () => prune(wrong(null), axes, {}), 'prune: expected weights to be an object, got null'],
  ['countParameters(7)', () => countParameters(wrong(7)), 'weights to be an object, got 7'],
  [
    'accumulate without a loss',
    () => accumulateGradients(wrong({ weights, batches: [] })),
    'accumulateGradients: expected loss to be a function, got none',
  ],
  [
    'accumulate over a number',
    () => accumulateGradients(wrong({ loss: () => 0, weights, batches: 3 })),
    'an iterable, got 3',
  ],
  [
    'activations without taps',
    () => accumulateActivations(wrong({ weights, axes, tapAxes: {} })),
    'taps to be a function',
  ],
  ['a sigma of NaN', () => noise([2], { seed: 1, sigma: Number.NaN }), 'expected sigma > 0, got NaN'],
  ['a seed of 1.5', () => noise([2], { seed: 1.5 }), 'an integer seed, got 1.5'],
  ['train()', () => train(wrong(undefined)).next(), 'train: expected options'],
  ['train without a loss', () => training({ loss: undefined }), 'train: expected loss to be a function, got none'],
  ...[Number.NaN, -1, Number.POSITIVE_INFINITY].map((learningRate): (typeof calls)[number] => [
    `a learning rate of ${learningRate}`,
    () => training({ learningRate }),
    `got ${learningRate}`,
  ]),
  ['a loss without a total', () => training({ loss: () => ({}) }), 'expected the loss to give { total, parts }'],
  ['resume: {}', () => training({ resume: {} }), 'expected resume to have position.epoch'],
  [
    'resume at position NaN',
    () =>
      training({
        resume: {
          position: { epoch: Number.NaN, batch: 0, step: 0 },
          weights,
          optimizer: { step: 0, m: weights, v: weights },
        },
      }),
    'NaN',
  ],
  ['distill(null)', async () => distill(wrong(null)), 'distill: expected options'],
  ['a patience of -1', () => plateau({ learningRate: 1, patience: -1 }), 'got -1'],
  ['a beta of NaN', () => adam({ beta1: Number.NaN }), 'got NaN'],
  [
    'saveTraining without a state',
    () => saveTraining(join(folder, 's'), wrong(undefined)),
    'saveTraining: expected options',
  ],
  ['loadTraining of nothing', () => loadTraining(join(folder, 'none')), 'no such file'],
  ['meanIou({})', () => meanIou(wrong({})), 'meanIou: expected images to be an iterable, got none'],
  ['maskIou(null)', () => maskIou(wrong(null), new Uint8Array(2)), 'maskIou: expected a to be a list, got null'],
  ['decodeRle(null)', () => decodeRle(wrong(null)), 'expected a size [height, width]'],
  ['encodeRle of another size', () => encodeRle(new Uint8Array(2), { width: 2, height: 2 }), 'got 2'],
  ['compress()', () => compress(wrong(undefined), wrong({})).next(), 'compress: expected options { weights, config }'],
  [
    'compress without photographs',
    () => compress(wrong({ weights, config: {} }), wrong({})).next(),
    'photographs to be',
  ],
  ['a run in a file', () => openRun(join(folder, 'file')), 'to be a folder or to become one, got a file there'],
  ['a run below a file', () => openRun(join(folder, 'file/run')), 'got a file where a folder should be'],
  ['evaluateSam(null)', () => evaluateSam(wrong(null)), 'evaluateSam: expected options { weights, config }, got null'],
];

test.each(calls)('%s', async (_, call, message) => {
  const before = tf.memory().numTensors;
  const error: unknown = await (async () => call())().then(
    () => expect.unreachable('it was accepted'),
    (reason: unknown) => reason,
  );
  expect((error as Error).message).toContain(message);
  expect((error as Error).name).toBe('Error'); // not a TypeError of the engine
  expect((error as Error).message).toMatch(/expected [^\n]+, got /);
  // the batch and the loss of `training` are made by its caller
  expect(tf.memory().numTensors - before).toBeLessThanOrEqual(1);
});
