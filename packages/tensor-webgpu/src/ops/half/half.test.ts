import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, test } from 'vitest';
import { openedBackend, spread } from '../../../test/both-backends.ts';
import { nearestHalf } from '../../../test/ops-testing.ts';
import { profile } from '../../watching/profile.ts';
import { attention, gelu, half, layerNorm, linear } from '../index.ts';

const opened = openedBackend();

type Work = (...inputs: tf.Tensor[]) => tf.Tensor | tf.Tensor[];

/** Runs `work` on tensors in half precision and on the same values in float32: equal results, stored as said, and nothing left. */
async function expectLikeFloats(shapes: readonly (readonly number[])[], work: Work, isHalf: boolean): Promise<void> {
  const held = () => [tf.memory().numTensors, opened().numDataIds(), opened().memory().numBytesInGPU];
  const before = held();
  const halves = shapes.map((shape, i) => tf.tidy(() => half(spread(shape, { seed: i + 1 }))));
  const floats: tf.Tensor[] = [];
  for (const x of halves) floats.push(tf.tensor(await x.data(), x.shape));
  const run = (inputs: tf.Tensor[]) => tf.tidy(() => ([] as tf.Tensor[]).concat(work(...inputs)));
  const [actual, expected] = [run(halves), run(floats)];
  for (const [i, result] of actual.entries()) {
    expect(opened().isHalf(result)).toBe(isHalf);
    expect(result.shape).toEqual(expected[i]!.shape);
    expect(await result.data()).toEqual(await expected[i]!.data());
  }
  tf.dispose([halves, floats, actual, expected]);
  expect(held()).toEqual(before);
}

describe('half precision', () => {
  test.each([0, 1, 3, 255, 256, 257, 1021])('%i values are rounded to the nearest', async (size) => {
    const values = Float32Array.from({ length: size }, (_, i) => (((i * 7919) % 2003) - 1001) * 1.0007 ** i);
    const x = half(tf.tensor1d(values));
    expect(opened().isHalf(x)).toBe(true);
    expect(await x.data()).toEqual(values.map(nearestHalf));
  });

  test('ties, the smallest values and the largest', async () => {
    const values = [1 + 2 ** -11, 1 + 3 * 2 ** -11, 0.1, -1e-5, 6e-8, 2e-8, 65504, 65519, 65520, -1e9, -Infinity];
    const x = half(tf.tensor1d(values));
    const expected = [1, 1 + 2 ** -9, 0.0999755859375, -168 * 2 ** -24, 2 ** -24, 0, 65504, 65504];
    expect(Array.from(await x.data())).toEqual([...expected, Infinity, -Infinity, -Infinity]);
    expect(values.map(nearestHalf)).toEqual([...expected, Infinity, -Infinity, -Infinity]);
    expect(await half(tf.scalar(Number.NaN)).data()).toEqual(Float32Array.of(Number.NaN));
  });

  test('two bytes a value, in views too; half of half is the same', async () => {
    const before = opened().memory().numBytesInGPU;
    const bytes = () => opened().memory().numBytesInGPU - before;
    const x = tf.tidy(() => half(spread([1001, 64])));
    expect(bytes()).toBe(Math.ceil((1001 * 64 * 2) / 256) * 256);
    const views = [tf.reshape(x, [77, 832]), tf.clone(x), half(x)];
    for (const view of views) expect(opened().isHalf(view)).toBe(true);
    expect(bytes()).toBe(Math.ceil((1001 * 64 * 2) / 256) * 256);
    x.dispose();
    expect((await views[0]!.data()).length).toBe(1001 * 64);
    tf.dispose(views);
    expect(bytes()).toBe(0);
  });

  test.each<[string, number[][], Work]>([
    ['transpose', [[3, 5, 7]], (x) => tf.transpose(x, [2, 0, 1])],
    ['transpose of vectors', [[6, 5, 8]], (x) => tf.transpose(x, [1, 0, 2])],
    ['transpose of one', [[1]], (x) => tf.transpose(x)],
    ['slice', [[5, 9]], (x) => tf.slice(x, [1, 2], [3, 5])],
    ['slice of vectors', [[5, 16]], (x) => tf.slice(x, [2, 4], [2, 8])],
    ['split', [[3, 10]], (x) => tf.split(x, [3, 7], 1)],
    ['unstack', [[3, 5, 7]], (x) => tf.unstack(x)],
    ['stack', [[5], [5]], (x, y) => tf.stack([x!, y!])],
    [
      'concat',
      [
        [3, 5],
        [2, 5],
        [1, 5],
      ],
      (...list) => tf.concat(list),
    ],
    [
      'concat of vectors',
      [
        [3, 8],
        [3, 4],
      ],
      (...list) => tf.concat(list, 1),
    ],
    [
      'pad',
      [[3, 5]],
      (x) =>
        tf.pad(
          x!,
          [
            [1, 2],
            [0, 3],
          ],
          0.5,
        ),
    ],
    [
      'pad of vectors',
      [[3, 8]],
      (x) =>
        tf.pad(x!, [
          [1, 2],
          [0, 0],
        ]),
    ],
    [
      'mirrorPad',
      [[3, 5]],
      (x) =>
        tf.mirrorPad(
          x!,
          [
            [1, 2],
            [0, 3],
          ],
          'reflect',
        ),
    ],
    ['tile', [[3, 5]], (x) => tf.tile(x, [2, 3])],
    ['reverse', [[17]], (x) => tf.reverse(x)],
  ])('values that only move stay so: %s', (_name, shapes, work) => expectLikeFloats(shapes, work, true));

  test.each<[string, number[][], Work]>([
    ['softmax', [[5, 13]], (x) => tf.softmax(x)],
    ['sum', [[5, 13]], (x) => tf.sum(x, 1)],
    ['relu', [[257]], (x) => tf.relu(x)],
    ['add', [[5, 13], [13]], (x, y) => tf.add(x!, y!)],
    ['add to float32', [[5, 13]], (x) => tf.add(x, tf.ones([5, 13]))],
    ['a scalar', [[]], (x) => tf.mul(x, tf.ones([2000]))],
    ['gather', [[7, 5]], (x) => tf.gather(x, tf.tensor1d([6, 0, 3], 'int32'))],
    ['concat with float32', [[3, 5]], (x) => tf.concat([x, tf.ones([2, 5])])],
    [
      'convolution',
      [
        [1, 6, 6, 3],
        [3, 3, 3, 2],
      ],
      (x, w) => tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, 'same'),
    ],
    ['max pooling', [[1, 6, 6, 3]], (x) => tf.maxPool(x as tf.Tensor4D, 2, 2, 'valid')],
    ['argMax', [[5, 13]], (x) => tf.argMax(x, 1)],
    ['topk', [[5, 13]], (x) => tf.topk(x, 3).values],
    [
      'einsum',
      [
        [5, 3],
        [3, 4],
      ],
      (x, y) => tf.einsum('ij,jk->ik', x!, y!),
    ],
    ['cumsum', [[5, 13]], (x) => tf.cumsum(x, 1)],
    ['where', [[5, 13]], (x) => tf.where(tf.greater(x, 0), x, tf.zeros([5, 13]))],
    ['cast to int32', [[5, 13]], (x) => tf.cast(x, 'int32')],
  ])('every other kernel takes it, and gives float32: %s', (_name, shapes, work) =>
    expectLikeFloats(shapes, work, false),
  );

  test('which ops give half precision', () => {
    tf.tidy(() => {
      const floats = tf.ones([4, 4]);
      const x = half(floats);
      const bias = tf.ones([4]);
      const norm = { scale: bias, offset: bias };
      const rows = half(tf.ones([2, 3, 4]));
      const isHalf = (y: tf.Tensor) => opened().isHalf(y);
      expect([
        isHalf(linear(floats, { weight: x, bias })),
        isHalf(linear(x, { weight: x, bias })),
        isHalf(tf.matMul(x, x)),
        isHalf(layerNorm(x, norm)),
        isHalf(gelu(x)),
        isHalf(attention({ query: rows, key: rows, value: rows })),
      ]).toEqual(Array(6).fill(true));
      expect([
        isHalf(linear(x, { weight: floats, bias })),
        isHalf(tf.matMul(x, floats)),
        isHalf(tf.matMul(floats, x)),
        isHalf(attention({ query: rows, key: rows, value: tf.ones([2, 3, 4]) })),
      ]).toEqual(Array(4).fill(false));
    });
  });

  test('its gradient passes through, in float32', async () => {
    const x = spread([5, 13]);
    const dy = tf.mul(spread([5, 13], { seed: 2 }), 1e-7); // below what half precision keeps
    const gradient = tf.grad((y: tf.Tensor) => half(y))(x, dy);
    expect(opened().isHalf(gradient)).toBe(false);
    expect(await gradient.data()).toEqual(await dy.data());
    tf.dispose([x, dy, gradient]);
  });

  test('profiles count the bytes that there are, and the expansion by itself', async () => {
    const x = tf.tidy(() => half(spread([1000])));
    const { dispatches } = await profile(opened(), () =>
      tf.tidy(() => [tf.transpose(tf.reshape(x, [10, 100])), tf.softmax(x)]),
    );
    const bytes = dispatches.map(({ label, bytes }) => [label.replace(/ .*/, ''), bytes]);
    expect(bytes.slice(0, 2)).toEqual([
      ['Transpose', 4000],
      ['from', 6000],
    ]);
    x.dispose();
  });

  test('a tensor that is freed at once', async () => {
    const results = tf.tidy(() => {
      const x = half(spread([64, 64]));
      const product = tf.matMul(x, x);
      const sum = tf.softmax(product);
      return [tf.keep(sum)];
    });
    expect(Math.abs((await tf.sum(results[0]!).data())[0]! - 64)).toBeLessThan(1e-4);
    tf.dispose(results);
  });
});

test('half says what it needs', async () => {
  expect(() => half(tf.tensor1d([1], 'int32'))).toThrow('half: expected x float32, got int32; cast it with tf.cast');
  const { facts } = opened();
  Object.assign(opened(), { facts: { ...facts, features: facts.features.filter((name) => name !== 'shader-f16') } });
  expect(() => half(tf.scalar(1))).toThrow(`half: expected an adapter with the feature shader-f16, got ${facts.name}`);
  Object.assign(opened(), { facts });
  const name = tf.getBackend();
  await tf.setBackend('cpu');
  expect(() => half(tf.scalar(1))).toThrow("half: expected the backend that useWebgpu() opens, got 'cpu'");
  await tf.setBackend(name);
});
