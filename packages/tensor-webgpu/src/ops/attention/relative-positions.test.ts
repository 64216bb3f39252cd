import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { expectSame, openedBackend, spread } from '../../../test/both-backends.ts';
import { asGpu } from '../../../test/ops-testing.ts';
import { relativePositions } from '../index.ts';

const backend = openedBackend();

const onBoth = async (work: () => Promise<void>) => {
  await work();
  await asGpu(backend(), work);
};

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

test('what does not fit', () => {
  const where = { side: 2, axis: 'height' } as const;
  expect(() => relativePositions(spread([1, 4, 3]), spread([4, 3]), where)).toThrow('expected table');
  expect(() => relativePositions(spread([1, 5, 3]), spread([3, 3]), where)).toThrow('expected query');
});
