import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { openedBackend } from '../../../test/both-backends.ts';

const backend = openedBackend();

const whole = (...values: number[]) => tf.tensor1d(values, 'int32');

/** What stays on the CPU: it can be read at once, and nothing is dispatched for it. */
function known(op: (a: tf.Tensor1D, b: tf.Tensor1D) => tf.Tensor): number[] {
  const run = vi.spyOn(backend(), 'run');
  try {
    return tf.tidy(() => Array.from(op(whole(7, -7, 2147483647), whole(2, 2, 2)).dataSync()));
  } finally {
    expect(run).not.toHaveBeenCalled();
    run.mockRestore();
  }
}

test('a few whole numbers are computed on the CPU, modulo 2^32', () => {
  expect(known(tf.add)).toEqual([9, -5, -2147483647]);
  expect(known(tf.sub)).toEqual([5, -9, 2147483645]);
  expect(known(tf.mul)).toEqual([14, -14, -2]);
  expect(known(tf.floorDiv)).toEqual([3, -4, 1073741823]);
  expect(known(tf.mod)).toEqual([1, 1, 1]);
  expect(known(tf.maximum)).toEqual([7, 2, 2147483647]);
  expect(known((a) => tf.sum(a))).toEqual([2147483647]);
  expect(known((a) => tf.slice(a, 1, 1))).toEqual([-7]);
});

test('many, or floats, are computed on the GPU', async () => {
  for (const x of [tf.range(0, 65, 1, 'int32'), tf.tensor1d([1.5])]) {
    const sum = tf.add(x, x);
    expect(() => sum.dataSync()).toThrow('expected an asynchronous read');
    expect((await sum.data()).at(-1)).toBe(x.dtype === 'int32' ? 128 : 3);
    tf.dispose([x, sum]);
  }
});
