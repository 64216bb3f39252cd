import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { expectSame, integers, openedBackend, spread } from '../../../test/both-backends.ts';

openedBackend();

type Pool = (x: tf.Tensor) => tf.Tensor;

const weighted = (pool: Pool) => (x: tf.Tensor) => {
  const y = pool(x);
  return tf.sum(tf.mul(y, spread(y.shape, { seed: 3 }))) as tf.Scalar;
};
const withGradient = (pool: Pool, shape: number[]) =>
  expectSame(() => [pool(spread(shape)), tf.grad(weighted(pool))(spread(shape))]);

const max =
  (size: [number, number], strides: [number, number], pad: 'same' | 'valid' | number): Pool =>
  (x) =>
    tf.maxPool(x as tf.Tensor4D, size, strides, pad);
const average =
  (size: [number, number], strides: [number, number], pad: 'same' | 'valid'): Pool =>
  (x) =>
    tf.avgPool(x as tf.Tensor4D, size, strides, pad);

describe('images', () => {
  test('max, with gradient', async () => {
    await withGradient(max([2, 2], [2, 2], 'valid'), [2, 7, 6, 8]);
    await withGradient(max([3, 2], [1, 2], 'same'), [1, 5, 7, 3]);
    await withGradient(max([3, 3], [2, 2], 1), [2, 6, 5, 5]);
    await withGradient(max([1, 1], [1, 1], 'same'), [1, 3, 3, 2]);
  });

  test('the first of equal values gets the gradient', async () => {
    const pool = max([2, 2], [1, 1], 'valid');
    await expectSame(() => tf.grad(weighted(pool))(tf.round(spread([1, 6, 5, 3], { scale: 1 }))));
  });

  test('max of integers, of infinities and beside NaN', async () => {
    await expectSame(() => tf.maxPool(integers([1, 4, 5, 3]) as tf.Tensor4D, 2, 1, 'valid'));
    const low = Number.NEGATIVE_INFINITY;
    const x = () => tf.tensor([low, low, Number.NaN, low, low, 2, 1, Number.NaN, 3], [1, 3, 3, 1]) as tf.Tensor4D;
    await expectSame(() => tf.maxPool(x(), 2, 1, 'valid'));
  });

  test('where the maximum is', async () => {
    for (const batch of [false, true])
      await expectSame(() => {
        const { result, indexes } = tf.maxPoolWithArgmax(spread([2, 5, 6, 3]) as tf.Tensor4D, [2, 3], 2, 'same', batch);
        return [result!, indexes!];
      });
  });

  test('average, with gradient', async () => {
    await withGradient(average([2, 2], [2, 2], 'valid'), [2, 7, 6, 8]);
    await withGradient(average([3, 2], [1, 2], 'valid'), [1, 5, 7, 3]);
    await expectSame(() => average([3, 3], [2, 1], 'same')(spread([2, 5, 6, 3])));
  });

  test('the gradient of a padded average is its derivative', async () => {
    // the same average as a convolution over the values inside; tfjs-backend-cpu's own gradient counts those outside too
    const composed: Pool = (x) => {
      const filter = tf.ones([3, 3, 3, 1]) as tf.Tensor4D;
      const sums = (y: tf.Tensor) => tf.depthwiseConv2d(y as tf.Tensor4D, filter, [2, 1], 'same');
      return tf.div(sums(x), sums(tf.onesLike(x)));
    };
    const fused = average([3, 3], [2, 1], 'same');
    await expectSame(() => tf.grad(weighted(tf.getBackend() === 'cpu' ? composed : fused))(spread([2, 5, 6, 3])));
  });
});

test('volumes, with gradients', async () => {
  for (const shape of [
    [2, 4, 5, 6, 4],
    [1, 3, 4, 5, 3],
  ]) {
    await withGradient((x) => tf.maxPool3d(x as tf.Tensor5D, 3, [1, 2, 2], 'same'), shape);
    await withGradient((x) => tf.avgPool3d(x as tf.Tensor5D, 2, [2, 1, 2], 'valid'), shape);
  }
});

test('a volume pooled slice by slice is a batch of images', async () => {
  // tfjs-backend-cpu mistakes the places in windows that are not cubes
  const pool: Pool = (x) => {
    const [B, D, H, W, C] = x.shape as [number, number, number, number, number];
    if (tf.getBackend() !== 'cpu') return tf.maxPool3d(x as tf.Tensor5D, [1, 3, 2], [1, 2, 1], 'same');
    const y = tf.maxPool(tf.reshape(x, [B * D, H, W, C]) as tf.Tensor4D, [3, 2], [2, 1], 'same');
    return tf.reshape(y, [B, D, ...y.shape.slice(1)]);
  };
  await withGradient(pool, [2, 3, 7, 6, 4]);
});

test('dilation2d, with gradients', async () => {
  const dilation = (x: tf.Tensor, filter: tf.Tensor, pad: 'same' | 'valid') =>
    tf.dilation2d(x as tf.Tensor4D, filter as tf.Tensor3D, [1, 2], pad, [2, 1]);
  for (const pad of ['same', 'valid'] as const)
    await expectSame(() => {
      const [x, w] = [spread([2, 6, 7, 3]), spread([2, 3, 3], { seed: 2 })];
      const total = (a: tf.Tensor, b: tf.Tensor) => weighted((y) => dilation(y, b, pad))(a);
      return [dilation(x, w, pad), ...tf.grads(total as (...args: tf.Tensor[]) => tf.Scalar)([x, w])];
    });
});

test('batch norm and local response normalization, with gradients', async () => {
  const channels = (seed: number) => spread([3], { seed }) as tf.Tensor1D;
  const norm = (x: tf.Tensor, offset?: tf.Tensor1D, scale?: tf.Tensor1D) =>
    tf.batchNorm(x, channels(2), tf.add(tf.square(channels(3)), 0.5) as tf.Tensor1D, offset, scale, 1e-3);
  await expectSame(() => [
    norm(spread([2, 5, 3])),
    norm(spread([2, 4, 3]), channels(4)),
    norm(spread([7, 3]), channels(4), channels(5)),
    norm(spread([7, 3]), undefined, channels(5)),
    tf.grad(weighted((x) => norm(x, channels(4), channels(5))))(spread([2, 5, 3])),
  ]);
  const local: Pool = (x) => tf.localResponseNormalization(x as tf.Tensor4D, 2, 1.5, 0.3, 0.75);
  await withGradient(local, [1, 3, 4, 7]);
  await withGradient(local, [2, 1, 2, 2]);
  expect(tf.memory().numTensors).toBe(0);
});
