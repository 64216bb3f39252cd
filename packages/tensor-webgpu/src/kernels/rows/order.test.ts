import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { expectSame, integers, openedBackend, spread } from '../../../test/both-backends.ts';
import { asGpu } from '../../../test/ops-testing.ts';

const backend = openedBackend();

describe('order', () => {
  test('topk: equal values, integers, NaN-free odd rows', async () => {
    for (const [shape, k] of [
      [[3, 17], 5],
      [[2, 3, 4], 4],
      [[1000], 7],
      [[5], 0],
    ] as [number[], number][])
      await expectSame(() => {
        const { values, indices } = tf.topk(spread(shape), k);
        return [values, indices];
      });
    await expectSame(() => {
      const { values, indices } = tf.topk(tf.tensor([-1, 0, 3, -0, 3, Number.NEGATIVE_INFINITY, 3, -1, 1e30]), 9);
      return [values, indices];
    });
    await expectSame(() => Object.values(tf.topk(integers([4, 33], { scale: 3 }), 33)) as tf.Tensor[]);
  });

  test('topk of long rows, part by part: equal values stay in their order', async () => {
    for (const [shape, k] of [
      [[2, 5001], 7],
      [[60_000], 5],
      [[3, 1100], 130],
      [[2, 1025], 257],
      [[1300], 1300],
    ] as [number[], number][])
      await expectSame(() => Object.values(tf.topk(integers(shape, { scale: 900 }), k)) as tf.Tensor[]);
    await expectSame(() => Object.values(tf.topk(spread([20_000]), 100)) as tf.Tensor[]);
  });

  test('searchSorted', async () => {
    const rows = () => tf.tensor2d([1, 3, 3, 5, 9, 0, 0, 2, 2, 8], [2, 5]);
    const values = () => tf.tensor2d([0, 3, 4, 10, 9, 0, 2, 7, 8, -1], [2, 5]);
    for (const side of ['left', 'right'] as const) await expectSame(() => tf.searchSorted(rows(), values(), side));
  });

  test('running sums and products', async () => {
    for (const [exclusive, reverse] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ] as [boolean, boolean][])
      for (const axis of [0, 1, 2])
        await expectSame(() => [
          tf.cumsum(spread([3, 5, 4]), axis, exclusive, reverse),
          tf.cumprod(spread([3, 5, 4]), axis, exclusive, reverse),
        ]);
    await expectSame(() => tf.cumprod(integers([3, 4], { scale: 4 }), 1));
  });

  test('long rows in parts, on CPUs and as on GPUs: running sums and products, and the first of the largest', async () => {
    await tf.setBackend('cpu');
    const x = tf.tidy(() => tf.round(spread([2, 5001], { scale: 40 })).arraySync()) as number[][];
    x[0]![3] = Number.NaN; // passed over
    x[1]![0] = Number.NaN; // stays
    const work = () => {
      const whole = integers([3, 40_001], { scale: 9 });
      return [
        ...[true, false].map((reverse) => tf.cumsum(whole, 1, reverse, reverse)),
        tf.cumprod(tf.add(1, tf.mul(1e-3, spread([20_001, 2]))), 0), // up to 1 by 20,001 roundings
        ...[tf.argMax, tf.argMin].flatMap((of) => [of(whole, 1), of(tf.tensor2d(x), 1), of(spread([70_001, 2]), 0)]),
      ];
    };
    await expectSame(work, 2e-4);
    await asGpu(backend(), () => expectSame(work, 2e-4));
  });

  test('multinomial: frequencies like the probabilities, repeatable by seed', async () => {
    await tf.setBackend('slimsam-webgpu');
    const logits = tf.log(tf.tensor2d([0.1, 0.2, 0.7, 0.5, 0.5, 1e-9], [2, 3]));
    const samples = 20_000;
    const [first, again, other] = [1, 1, 2].map((seed) => tf.multinomial(logits as tf.Tensor2D, samples, seed));
    const drawn = await first!.data();
    const share = (row: number, event: number) =>
      drawn.slice(row * samples, (row + 1) * samples).filter((value: number) => value === event).length / samples;
    // five standard deviations of sqrt(0.25 / samples)
    for (const [row, event, expected] of [
      [0, 0, 0.1],
      [0, 1, 0.2],
      [0, 2, 0.7],
      [1, 0, 0.5],
      [1, 1, 0.5],
      [1, 2, 0],
    ] as [number, number, number][])
      expect(Math.abs(share(row, event) - expected)).toBeLessThan(0.018);
    expect(await again!.data()).toEqual(drawn);
    expect(await other!.data()).not.toEqual(drawn);
    tf.dispose([logits, first!, again!, other!]);
  });
});

describe('scatter', () => {
  const indices = () => tf.tensor2d([4, 1, 4, 0], [4, 1], 'int32');
  test('sums, and the last over a base', async () => {
    await expectSame(() => [
      tf.scatterND(indices(), spread([4, 3]), [6, 3]),
      tf.scatterND(tf.tensor2d([0, 1, 2, 0, 0, 1], [3, 2], 'int32'), integers([3]), [3, 2]),
    ]);
    await expectSame(() => [
      tf.tensorScatterUpdate(spread([6, 3], { seed: 2 }), indices(), spread([4, 3])),
      tf.sparseToDense(tf.tensor1d([1, 5], 'int32'), tf.tensor1d([2, 3]), [7], 9),
      tf.sparseToDense(
        tf.tensor2d([0, 1, 2, 3], [2, 2], 'int32'),
        tf.scalar(4, 'int32'),
        [4, 5],
        tf.scalar(-1, 'int32'),
      ),
    ]);
  });

  test('sums of many segments, sorted first, of rows outside none', async () => {
    for (const [rows, segments, inner] of [
      [5000, 300, 3],
      [1500, 1000, 8],
      [70_000, 17, 1],
    ] as const) {
      const ids = () => {
        const some = tf.add(tf.mul(spread([rows], { seed: 3, scale: 0.5 }), segments * 1.1), segments / 2);
        return tf.cast(tf.floor(some), 'int32') as tf.Tensor1D;
      };
      await expectSame(() => tf.unsortedSegmentSum(tf.round(spread([rows, inner], { scale: 99 })), ids(), segments));
    }
  });

  test('counts', async () => {
    const x = () => tf.tensor1d([1, 4, 1, 0, 7, 4, 4], 'int32');
    await expectSame(() => [
      tf.bincount(x(), tf.tensor1d([]), 6),
      tf.bincount(x(), spread([7]) as tf.Tensor1D, 9),
      tf.denseBincount(tf.tensor2d([1, 2, 1, 0, 0, 5], [2, 3], 'int32'), tf.tensor2d([], [0, 0]), 4),
      tf.denseBincount(tf.tensor2d([1, 2, 1, 0, 0, 5], [2, 3], 'int32'), tf.tensor2d([], [0, 0]), 4, true),
    ]);
  });

  test('diag', async () => {
    await expectSame(() => [tf.diag(spread([5])), tf.diag(integers([2, 3]))]);
  });
});
