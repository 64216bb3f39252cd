import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { expectSame, openedBackend, spread } from '../../../test/both-backends.ts';
import { asGpu } from '../../../test/ops-testing.ts';
import { splitHeads } from '../index.ts';

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

test('what does not fit', () => {
  expect(() => splitHeads(spread([2, 3, 10]), 2)).toThrow('splitHeads: expected qkv [G, N, 3 * 2 * D], got [2,3,10]');
});
