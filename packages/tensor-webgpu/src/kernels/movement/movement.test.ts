import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { expectSame, integers, openedBackend, spread } from '../../../test/both-backends.ts';
import { asGpu } from '../../../test/ops-testing.ts';

const backend = openedBackend();

const squared = (f: (x: tf.Tensor) => tf.Tensor, shape: number[]) =>
  expectSame(() => [f(spread(shape)), tf.grad((x) => tf.sum(tf.square(f(x))))(spread(shape))]);

describe('views', () => {
  test('reshape and expandDims share the data', async () => {
    await tf.setBackend('slimsam-webgpu');
    const x = tf.ones([4, 6]);
    const before = backend().numDataIds();
    const views = [tf.reshape(x, [3, 8]), tf.expandDims(x, 1), tf.squeeze(tf.expandDims(x, 0), [0])];
    expect(backend().numDataIds()).toBe(before);
    tf.dispose([x, ...views]);
    await expectSame(() => [tf.reshape(spread([4, 6]), [-1, 3]), tf.clone(spread([2]))]);
  });
});

describe('transpose', () => {
  const cases: [number[], number[]][] = [
    [
      [5, 7],
      [1, 0],
    ],
    [
      [8, 12],
      [1, 0],
    ],
    [
      [2, 3, 5, 4],
      [0, 2, 1, 3],
    ],
    [
      [2, 4, 3, 8],
      [0, 3, 1, 2],
    ],
    [
      [2, 3, 2, 3, 2, 3],
      [5, 3, 1, 4, 2, 0],
    ],
    [
      [1, 5, 1, 3],
      [2, 1, 0, 3],
    ],
    [
      [0, 3],
      [1, 0],
    ],
  ];
  test.each(cases)('[%s] to [%s]', async (shape, order) => {
    await squared((x) => tf.transpose(x, order), shape);
    await expectSame(() => tf.transpose(integers(shape), order));
  });
});

// on CPU adapters an invocation takes a whole last dimension, from 512 of them and four values or vectors on
describe('long and many rows', () => {
  const orders: [number[], number[]][] = [
    [
      [4, 37, 5, 20],
      [2, 0, 1, 3],
    ],
    [
      [4, 37, 5, 7],
      [2, 0, 1, 3],
    ],
    [
      [3, 601, 5],
      [2, 1, 0],
    ],
    [
      [16, 640],
      [1, 0],
    ],
    [
      [7, 73, 16],
      [1, 0, 2],
    ],
    [
      [8, 64, 16],
      [1, 0, 2],
    ],
    [
      [9, 57, 12],
      [1, 0, 2],
    ],
  ];
  test.each(orders)('transpose [%s] to [%s]', async (shape, order) => {
    await squared((x) => tf.transpose(x, order), shape);
    await expectSame(() => tf.transpose(integers(shape), order));
    const asOnGpus = await asGpu(backend(), async () => tf.transpose(spread(shape), order).data());
    expect(await tf.transpose(spread(shape), order).data()).toEqual(asOnGpus);
  });

  test('sums that broadcast, slices, tiles and reverses', async () => {
    await expectSame(() => {
      const a = tf.mul(tf.add(spread([600, 20]), spread([20], { seed: 2 })), spread([600, 1], { seed: 3 }));
      const b = tf.slice(spread([600, 30]), [3, 4], [590, 21]);
      return [a, b, tf.tile(spread([300, 1, 9]), [1, 3, 1]), tf.reverse(spread([600, 20]), 0)];
    });
  });
});

describe('parts', () => {
  test('slice', async () => {
    await squared((x) => tf.slice(x, [1, 2], [2, 3]), [4, 7]);
    await squared((x) => tf.slice(x, [0, 4], [3, 8]), [3, 16]);
    await squared((x) => tf.slice(x, [2, 0, 1], [1, 2, 1]), [3, 2, 3]);
    await expectSame(() => [tf.slice(integers([9]), 4, 3), tf.slice(spread([4, 3]), [1, 0], [0, 3])]);
    await expectSame(() => tf.slice(spread([2, 3, 2, 3, 2, 3]), [1, 1, 0, 1, 1, 0], [1, 2, 1, 2, 1, 3]));
  });

  test('stridedSlice and reverse', async () => {
    await expectSame(() => tf.stridedSlice(spread([7, 9]), [1, 8], [7, 0], [2, -3]));
    await expectSame(() => tf.stridedSlice(spread([5, 4]), [0, 1], [0, 3], [1, 1], 1, 1, 0, 0, 0));
    await expectSame(() => tf.stridedSlice(spread([5, 4]), [2, 1], [3, 4], [1, 1], 0, 0, 0, 0, 1));
    await tf.setBackend('slimsam-webgpu');
    // tfjs-backend-cpu ignores the step of 2 here, TensorFlow and NumPy do not
    const stepped = tf.tidy(() =>
      tf.stridedSlice(tf.reshape(tf.range(0, 20), [5, 4]), [2, 0], [3, 4], [1, 2], 0, 0, 0, 0, 1),
    );
    expect(Array.from(await stepped.data())).toEqual([8, 10]);
    stepped.dispose();
    for (const axes of [[0], [1], [0, 1]]) await squared((x) => tf.reverse(x, axes), [5, 8]);
    await expectSame(() => tf.reverse(integers([7])));
  });

  test('split, unstack, stack, concat', async () => {
    await expectSame(() => tf.split(spread([4, 9]), 3, 1));
    await expectSame(() => tf.split(spread([6, 8]), [1, 2, 3], 0));
    await expectSame(() => tf.unstack(spread([3, 2, 4]), 1));
    await squared((x) => tf.stack([x, tf.square(x), x], 1), [3, 5]);
    await squared((x) => tf.concat([x, tf.square(x)], 0), [3, 5]);
    await squared((x) => tf.concat([x, tf.square(x)], 1), [3, 8]);
    const many = () => Array.from({ length: 17 }, (_, seed) => spread([2, (seed % 3) + 1], { seed: seed + 1 }));
    await expectSame(() => tf.concat(many(), 1));
    await expectSame(() => tf.concat([spread([2, 0]), spread([2, 3])], 1));
    await expectSame(() => tf.concat([integers([2, 2]), integers([1, 2])]));
  });
});

describe('larger', () => {
  test('pad and mirrorPad', async () => {
    await squared(
      (x) =>
        tf.pad(x, [
          [1, 2],
          [0, 3],
        ]),
      [3, 5],
    );
    await squared(
      (x) =>
        tf.pad(
          x,
          [
            [0, 0],
            [1, 1],
            [2, 0],
            [0, 0],
          ],
          0.5,
        ),
      [2, 3, 2, 8],
    );
    await expectSame(() => tf.pad(integers([3]), [[2, 2]], 7));
    await expectSame(() =>
      tf.pad(spread([2, 1, 2, 1, 2, 3]), [
        [1, 0],
        [0, 1],
        [1, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ]),
    );
    for (const mode of ['reflect', 'symmetric'] as const) {
      await expectSame(() =>
        tf.mirrorPad(
          spread([4, 5]),
          [
            [2, 1],
            [1, 3],
          ],
          mode,
        ),
      );
      await expectSame(() =>
        tf.mirrorPad(
          spread([3, 4, 8]),
          [
            [2, 1],
            [1, 2],
            [0, 0],
          ],
          mode,
        ),
      );
    }
  });

  test('tile, broadcastTo, fill, like', async () => {
    await squared((x) => tf.tile(x, [2, 3]), [3, 5]);
    await squared((x) => tf.tile(x, [1, 2, 1, 2]), [2, 3, 1, 4]);
    await squared((x) => tf.broadcastTo(x, [4, 3, 5]), [3, 1]);
    await expectSame(() => [tf.fill([3, 3], 2.5), tf.fill([5], 3, 'int32'), tf.onesLike(spread([7]))]);
    await expectSame(() => [tf.zerosLike(integers([5])), tf.onesLike(tf.greater(spread([5]), 0)), tf.zeros([0])]);
  });

  test('space to depth and batch', async () => {
    await expectSame(() => tf.depthToSpace(spread([2, 3, 2, 12]) as tf.Tensor4D, 2));
    await expectSame(() =>
      tf.spaceToBatchND(
        spread([2, 3, 5, 3]),
        [2, 2],
        [
          [1, 0],
          [0, 1],
        ],
      ),
    );
    await expectSame(() =>
      tf.batchToSpaceND(
        spread([8, 2, 3, 2]),
        [2, 2],
        [
          [0, 1],
          [1, 0],
        ],
      ),
    );
  });
});

describe('gather', () => {
  test('gather with axes and batches', async () => {
    const picks = (shape: number[], limit: number) =>
      tf.mod(tf.abs(integers(shape, { scale: 50 })), tf.scalar(limit, 'int32'));
    await squared((x) => tf.gather(x, tf.tensor1d([4, 0, 0, 2], 'int32')), [5, 7]);
    await squared((x) => tf.gather(x, tf.tensor1d([1, 1, 3], 'int32'), 1), [2, 4, 8]);
    await expectSame(() => tf.gather(spread([3, 5, 2]), picks([3, 4], 5), 1, 1));
    await expectSame(() => tf.gather(integers([6]), picks([2, 3], 6)));
    await expectSame(() => tf.gather(spread([4, 3]), tf.tensor1d([], 'int32')));
  });

  test('segment sums, gatherND, scatterND, oneHot', async () => {
    const ids = () => tf.tensor1d([2, 0, 2, 1, 7], 'int32');
    for (const shape of [[5], [5, 3], [5, 8]]) await expectSame(() => tf.unsortedSegmentSum(spread(shape), ids(), 9));
    const at = () =>
      tf.tensor2d(
        [
          [0, 2],
          [1, 0],
          [2, 2],
        ],
        [3, 2],
        'int32',
      );
    await expectSame(() => tf.gatherND(spread([3, 4, 5]), at()));
    await expectSame(() => tf.scatterND(at(), spread([3, 5]), [3, 4, 5]));
    await expectSame(() => tf.scatterND(tf.tensor2d([[1], [1]], [2, 1], 'int32'), integers([2]), [4]));
    await expectSame(() => [tf.oneHot(ids(), 5), tf.oneHot(ids(), 9, 2, -1, 'float32')]);
  });

  test('range and linspace', async () => {
    await expectSame(() => [tf.range(0, 10, 3), tf.range(5, 0, -2, 'int32'), tf.linspace(0, 1, 6), tf.range(0, 0)]);
  });
});

describe('resize', () => {
  const cases: [number[], [number, number]][] = [
    [
      [2, 3, 4, 3],
      [7, 5],
    ],
    [
      [1, 8, 6, 4],
      [4, 3],
    ],
    [
      [1, 4, 4, 1],
      [16, 16],
    ],
    [
      [1, 5, 3, 2],
      [1, 1],
    ],
    [
      [1, 1, 1, 2],
      [3, 2],
    ],
  ];
  test.each(cases)('[%s] to [%s]', async (shape, size) => {
    const images = () => spread(shape) as tf.Tensor4D;
    for (const method of [tf.image.resizeBilinear, tf.image.resizeNearestNeighbor]) {
      await expectSame(() => [
        method(images(), size),
        method(images(), size, true),
        method(images(), size, false, true),
      ]);
    }
  });

  // tfjs-backend-cpu swaps height and width of these gradients and ignores half pixel centers
  test('gradients are the transpose of the resize', async () => {
    await tf.setBackend('slimsam-webgpu');
    for (const [shape, size] of cases)
      for (const method of [tf.image.resizeBilinear, tf.image.resizeNearestNeighbor])
        for (const [aligned, half] of [
          [false, false],
          [true, false],
          [false, true],
        ]) {
          const both = tf.tidy(() => {
            const x = spread(shape) as tf.Tensor4D;
            const resize = (images: tf.Tensor) => method(images as tf.Tensor4D, size, aligned, half);
            const dy = spread([shape[0]!, ...size, shape[3]!], { seed: 2 });
            const dx = tf.grad(resize)(x, dy);
            return tf.stack([tf.sum(tf.mul(resize(x), dy)), tf.sum(tf.mul(x, dx))]);
          });
          const [forward, backward] = await both.data();
          expect(forward).toBeCloseTo(backward!, 3);
          both.dispose();
        }
  });
});

test('the shape that two shapes broadcast to', async () => {
  await expectSame(() => tf.broadcastArgs(tf.tensor1d([2, 1, 5], 'int32'), tf.tensor1d([7, 1], 'int32')));
});
