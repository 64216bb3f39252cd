import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { openedBackend, spread } from '../../test/both-backends.ts';
import { findLeaks } from '../index.ts';

const opened = openedBackend();

test('a leaked tensor is reported with its kernel, shape, bytes and the calls that made it', async () => {
  const x = spread([3, 5]);
  function forgetful() {
    return tf.exp(tf.reshape(x, [5, 3]));
  }
  const leaks = await findLeaks(opened(), async () => {
    const used = tf.tidy(() => tf.neg(x));
    await used.data();
    used.dispose();
    const forgotten = forgetful();
    const view = tf.reshape(forgotten, [15]);
    expect(view.shape).toEqual([15]);
    const values = tf.tensor1d([1, 2], 'int32');
    expect(values.dtype).toBe('int32');
    return { wanted: [tf.sqrt(x)] };
  });
  expect(leaks).toEqual([
    {
      label: 'Exp',
      shape: [5, 3],
      dtype: 'float32',
      bytes: 60,
      references: 2,
      stack: expect.stringContaining('forgetful'),
    },
    {
      label: 'values',
      shape: [2],
      dtype: 'int32',
      bytes: 8,
      references: 1,
      stack: expect.stringContaining('leaks.test'),
    },
  ]);
  expect(leaks[0]!.stack).not.toContain('tensor-webgpu/src/backend'); // the program's own calls only
});

test('searches within one another, and one that throws', async () => {
  const x = spread([4]);
  let inner: unknown;
  const outer = await findLeaks(opened(), async () => {
    tf.exp(x);
    inner = await findLeaks(opened(), () => {
      tf.sqrt(x);
      return [];
    });
    return [];
  });
  expect(outer.map(({ label }) => label)).toEqual(['Exp', 'Sqrt']);
  expect(inner).toMatchObject([{ label: 'Sqrt' }]);
  await expect(findLeaks(opened(), () => Promise.reject(new Error('in the work')))).rejects.toThrow('in the work');
  const tracking = opened().trackTensors();
  tracking.stop();
  tf.exp(x);
  expect(tracking.left()).toEqual([]);
});
