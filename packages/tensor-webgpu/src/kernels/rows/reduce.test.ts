import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { expectSame, integers, openedBackend, spread } from '../../../test/both-backends.ts';

openedBackend();

const shapes: [number[], number[]][] = [
  [[7], [0]],
  [[5, 8], [1]],
  [[5, 8], [0]],
  [[3, 13], [-1]],
  [
    [2, 3, 4, 5],
    [1, 2],
  ],
  [
    [2, 3, 4, 5],
    [0, 3],
  ],
  [
    [2, 3, 1, 2, 3, 2],
    [0, 2, 4],
  ],
  [[1, 6], [0]],
  [[0, 3], [1]],
  [[700, 3], [0]],
];

describe('reductions', () => {
  const ops = { sum: tf.sum, mean: tf.mean, max: tf.max, min: tf.min, prod: tf.prod };
  test.each(Object.entries(ops))('%s along axes', async (_name, op) => {
    for (const [shape, axes] of shapes) {
      await expectSame(() => op(spread(shape, { scale: 1.2 }), axes, shape.length === 2));
    }
    await expectSame(() => op(spread([3, 4])));
  });

  test('integers and bools', async () => {
    for (const op of Object.values(ops)) await expectSame(() => [op(integers([3, 8], { scale: 6 }), 0)]);
    const truth = () => tf.greater(spread([3, 7]), 1.5);
    await expectSame(() => [tf.sum(truth(), 1), tf.all(truth(), 1), tf.any(truth(), 1), tf.any(truth())]);
  });

  test('NaN and infinities, nothing at all', async () => {
    const special = () => tf.tensor([1, Number.NaN, 3, 4, Number.NEGATIVE_INFINITY, 6], [2, 3]);
    await expectSame(() => [tf.max(special(), 1), tf.min(special(), 1), tf.sum(special(), 1)]);
    await expectSame(() => tf.max(tf.fill([5], Number.NEGATIVE_INFINITY)));
    await expectSame(() => [tf.sum(tf.zeros([3, 0]), 1), tf.prod(tf.zeros([0]))]);
  });

  test('a million and one values to float accuracy', async () => {
    await tf.setBackend('slimsam-webgpu');
    const mean = tf.tidy(() => tf.mean(tf.fill([1_000_001], 0.1)));
    expect((await mean.data())[0]).toBeCloseTo(0.1, 6);
    mean.dispose();
  });

  test('argMax and argMin: first of equals, every axis', async () => {
    for (const axis of [0, 1, 2])
      await expectSame(() => {
        const x = tf.round(spread([4, 5, 7], { scale: 3 }));
        return [tf.argMax(x, axis), tf.argMin(x, axis), tf.argMax(tf.cast(x, 'int32'), axis)];
      });
  });

  test('softmax, logSoftmax', async () => {
    for (const shape of [[5], [3, 8], [2, 3, 7], [2, 1]])
      await expectSame(() => [tf.softmax(spread(shape, { scale: 30 })), tf.logSoftmax(spread(shape, { scale: 30 }))]);
    await expectSame(() => tf.softmax(tf.tensor([1, Number.NEGATIVE_INFINITY, 2, 1000])));
  });

  test('cumsum', async () => {
    for (const axis of [0, 1, 2])
      for (const [exclusive, reverse] of [
        [false, false],
        [true, false],
        [true, true],
      ])
        await expectSame(() => tf.cumsum(spread([3, 5, 2]), axis, exclusive, reverse));
    await expectSame(() => tf.cumsum(integers([6])));
  });
});

test('gradients', async () => {
  const of = (f: (x: tf.Tensor) => tf.Tensor) =>
    expectSame(() => tf.grad((x) => tf.sum(tf.square(f(x))))(spread([4, 3, 6])));
  await of((x) => tf.sum(x, [0, 2]));
  await of((x) => tf.mean(x, 1, true));
  await of((x) => tf.max(x, 2));
  await of((x) => tf.min(x, 0));
  await of((x) => tf.softmax(x));
  await of((x) => tf.logSoftmax(x));
  await of((x) => tf.cumsum(x, 2));
  await of((x) => tf.logSumExp(x, 2));
});
