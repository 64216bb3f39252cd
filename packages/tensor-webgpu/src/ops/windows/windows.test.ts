import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { expectSame, openedBackend, spread } from '../../../test/both-backends.ts';
import { asGpu } from '../../../test/ops-testing.ts';
import { mergeWindows, partitionWindows } from '../index.ts';

const backend = openedBackend();

/** The results of an op and its gradients, which tfjs-backend-cpu composes of its own ops. */
const withGradients = (op: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[]) => () => {
  const y = op(...inputs);
  return [y, ...tf.grads(op)(inputs, spread(y.shape, { seed: 9 }))];
};

test.each([
  [[2, 7, 10, 8], 4],
  [[1, 8, 8, 4], 4],
  [[1, 5, 3, 3], 7],
  [[3, 4, 4, 5], 1],
] as const)('windows of a map %j and back: size %i', async (shape, size) => {
  const x = () => spread(shape, { seed: 1 });
  const both = async () => {
    await expectSame(() => withGradients((map) => partitionWindows(map!, size), [x()])());
    await expectSame(() => {
      const windows = partitionWindows(spread(shape, { seed: 2 }), size);
      return withGradients((w, residual) => mergeWindows(w!, residual!), [windows, x()])();
    });
  };
  await both();
  await asGpu(backend(), both);
});

test('what does not fit', () => {
  expect(() => partitionWindows(spread([2, 3]), 2)).toThrow('partitionWindows: expected x [B, h, w, C], got [2,3]');
  expect(() => partitionWindows(spread([1, 2, 3, 4]), 0)).toThrow('expected size to be 1, 2, …, got 0');
  expect(() => mergeWindows(spread([2, 2, 2, 4]), spread([1, 4, 4, 4]))).toThrow(
    'mergeWindows: expected windows [4,2,2,4] float32 for a map [1,4,4,4] float32, got [2,2,2,4]',
  );
});
