import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { openedBackend } from '../../../test/both-backends.ts';

openedBackend();

/** Angles of both signs of all sizes, and the floats beside multiples of pi / 2, where the reduction cancels most. */
function angles(): Float32Array {
  const values: number[] = [0, -0, 0.5, -0.5, 1e-30, 3e38, -3.4e38, 16367173 * 2 ** 72];
  for (let i = 0; i < 4000; i++) values.push((i % 2 ? 1 : -1) * 10 ** (-8 + (i / 4000) * 46) * (1 + (i % 97) / 97));
  for (let k = 1; k < 400; k++) values.push((k * Math.PI) / 2, -k * 64 * Math.PI);
  return Float32Array.from(values);
}

test.each([
  ['sin', tf.sin, Math.sin],
  ['cos', tf.cos, Math.cos],
  ['tan', tf.tan, Math.tan],
] as const)('%s of angles up to the largest float is right to 1.8e-7 of its size', async (_name, op, exact) => {
  const values = angles();
  const x = tf.tensor1d(values);
  const y = op(x);
  const got = await y.data();
  let worst = 0;
  values.forEach((value, i) => {
    const wanted = exact(value); // in float64
    worst = Math.max(worst, Math.abs(got[i]! - wanted) / Math.max(Math.abs(wanted), 1e-37));
  });
  expect(worst).toBeLessThan(1.8e-7); // 1.5 units in the last place: the rounding of the result, and of what leads to it
  tf.dispose([x, y]);
});

test('no angle has no sine', async () => {
  const none = tf.tensor1d([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  for (const op of [tf.sin, tf.cos, tf.tan])
    expect([...(await op(none).data())]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
});
