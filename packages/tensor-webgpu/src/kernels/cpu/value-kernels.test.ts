import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { expectSame, openedBackend } from '../../../test/both-backends.ts';

openedBackend();

test('the different slices along an axis', async () => {
  const repeated = () => tf.tensor([1, 2, 1, 0, 5, 0, 3, 3, 3, 1, 2, 1], [3, 4], 'int32');
  for (const axis of [0, 1]) await expectSame(() => Object.values(tf.unique(repeated(), axis)) as tf.Tensor[]);
  await expectSame(() => Object.values(tf.unique(tf.reshape(repeated(), [12]))) as tf.Tensor[]);
});

test('texts that differ', async () => {
  const { values, indices } = tf.unique(tf.tensor1d(['b', 'a', 'b', 'ä'], 'string'));
  expect(await values.data()).toEqual(['b', 'a', 'ä']);
  expect(Array.from(await indices.data())).toEqual([0, 1, 0, 2]);
  tf.dispose([values, indices]);
});

test('values that are only on the GPU are refused with the cure', () => {
  const x = tf.add(tf.ones([100]), 1);
  expect(() => tf.unique(x)).toThrow(/unique: expected values that are known on the CPU, got \[100\] .*await tensor/s);
  x.dispose();
});
