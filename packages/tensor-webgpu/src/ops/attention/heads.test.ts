import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { expectSame, openedBackend, spread } from '../../../test/both-backends.ts';
import { asGpu } from '../../../test/ops-testing.ts';
import { linear, relativePositions, splitHeads } from '../index.ts';

const backend = openedBackend();

const onBoth = async (work: () => Promise<void>) => {
  await work();
  await asGpu(backend(), work);
};

test.each([
  [2, 5, 3, 8],
  [1, 7, 2, 14],
  [3, 4, 1, 3],
])('heads of %i x %i tokens: %i of %i', (G, N, H, D) =>
  onBoth(() =>
    expectSame(() => {
      const qkv = spread([G, N, 3 * H * D]);
      const weighted = (x: tf.Tensor) =>
        tf.addN(splitHeads(x, H).map((part, i) => tf.mul(part, spread(part.shape, { seed: i + 2 }))));
      return [...splitHeads(qkv, H), tf.grad(weighted)(qkv)];
    }),
  ),
);

// sides that are, or are not, read four at a time; head widths too
test.each([
  [3, 4, 8],
  [2, 7, 8],
  [2, 14, 14],
  [5, 3, 5],
  [1, 16, 64],
] as const)('relative positions of %i x %i x %i', (G, side, D) =>
  onBoth(async () => {
    for (const axis of ['height', 'width'] as const)
      await expectSame(() => {
        const query = spread([G, side * side, D], { seed: 1 });
        const table = spread([2 * side - 1, D], { seed: 2 });
        const op = (q: tf.Tensor, t: tf.Tensor) => relativePositions(q, t, { side, axis });
        const [y, dy] = [op(query, table), spread([G, side * side, side], { seed: 3 })];
        return [y, ...tf.grads(op)([query, table], dy)];
      }, 2e-5); // sums of up to 80 products
  }),
);

// columns that are, or are not, written four at a time; several blocks of K
test.each([
  [9, 20, 8, undefined],
  [5, 300, 14, 'gelu'],
  [33, 64, 68, 'relu'],
] as const)('a linear layer with a residual: %i x %i x %i, %s', (rows, I, O, activation) =>
  onBoth(() =>
    expectSame(() => {
      const inputs = [[rows, I], [O, I], [O], [rows, O]].map((shape, seed) => spread(shape, { seed: seed + 1 }));
      const op = (x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, residual: tf.Tensor) =>
        linear(x, { weight, bias, residual, activation });
      const [x, weight, bias, residual] = inputs as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      return [op(x, weight, bias, residual), ...tf.grads(op)(inputs, spread([rows, O], { seed: 9 }))];
    }, 1e-4),
  ),
);

test('what does not fit', () => {
  expect(() => splitHeads(spread([2, 3, 10]), 2)).toThrow('splitHeads: expected qkv [G, N, 3 * 2 * D], got [2,3,10]');
  const where = { side: 2, axis: 'height' } as const;
  expect(() => relativePositions(spread([1, 4, 3]), spread([4, 3]), where)).toThrow('expected table');
  expect(() => relativePositions(spread([1, 5, 3]), spread([3, 3]), where)).toThrow('expected query');
  const [x, weight] = [spread([2, 3]), spread([4, 3])];
  expect(() => linear(x, { weight, residual: spread([2, 3]) })).toThrow('linear: expected residual');
});
