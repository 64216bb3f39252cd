import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { expectSame, openedBackend } from '../../../test/both-backends.ts';

const backend = openedBackend();

const words = () => tf.tensor2d(['a', 'bb', 'ä', '', 'e', 'bb'], [2, 3], 'string');
const read = async (x: tf.Tensor) => {
  const values = await x.data<'string'>();
  x.dispose();
  return Array.from(values);
};

test('strings move as other tensors do, and compare', async () => {
  await tf.setBackend('slimsam-webgpu');
  const x = words();
  expect(await read(tf.slice(x, [0, 1], [2, 2]))).toEqual(['bb', 'ä', 'e', 'bb']);
  expect(await read(tf.concat([x, x], 1))).toHaveLength(12);
  expect(await read(tf.tile(x, [1, 2]))).toEqual(['a', 'bb', 'ä', 'a', 'bb', 'ä', '', 'e', 'bb', '', 'e', 'bb']);
  expect(await read(tf.fill([2], 'x', 'string'))).toEqual(['x', 'x']);
  const same = tf.tidy(() => tf.equal(x, tf.tensor1d(['a', 'bb', 'bb'], 'string')));
  expect(Array.from(await same.data())).toEqual([1, 1, 0, 0, 0, 1]);
  tf.dispose([x, same]);
  expect(backend().numDataIds()).toBe(0);
});

test('strings: n-grams, splits, hashes and replacements', async () => {
  await expectSame(() => {
    const x = tf.tensor1d(['aa bb', 'c', ''], 'string');
    return [
      tf.string.stringToHashBucketFast(x, 97),
      tf.string.stringSplit(x, ' ').indices!,
      tf.string.stringNGrams(x, tf.tensor1d([0, 2, 3], 'int32'), '|', [1, 2], 'L', 'R', -1, false).nGramsSplits!,
    ];
  });
  await tf.setBackend('slimsam-webgpu');
  const x = tf.tensor1d(['aa bb', 'c', ''], 'string');
  expect(await read(tf.string.staticRegexReplace(x, '[ab]+', '-'))).toEqual(['- -', 'c', '']);
  x.dispose();
});

test('a kernel without strings says so', async () => {
  await tf.setBackend('slimsam-webgpu');
  tf.tidy(() => {
    const inputs = { x: words(), indices: tf.tensor1d([0], 'int32') };
    const run = () => tf.engine().runKernel(tf.GatherV2, inputs, { axis: 0, batchDims: 0 });
    expect(run).toThrow(/GatherV2: expected 'in0' of float32, int32 or bool, got string \[2,3\]/);
  });
});
