import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { openedBackend, spread } from '../../test/both-backends.ts';

const opened = openedBackend();

test('pipelines are compiled ahead, all asked for before the first dispatch; later runs compile nothing', async () => {
  const { device } = opened();
  const [now, ahead] = [vi.spyOn(device, 'createComputePipeline'), vi.spyOn(device, 'createComputePipelineAsync')];
  const submit = vi.spyOn(device.queue, 'submit');
  const x = spread([20, 30]);
  const work = () => tf.tidy(() => tf.sum(tf.softplus(tf.erf(tf.add(x, tf.transpose(tf.reverse(x, 1), [0, 1]))))));
  const warm = await opened().warmUp(work);
  expect(now).not.toHaveBeenCalled();
  expect(ahead.mock.calls.length).toBeGreaterThan(3);
  expect(Math.max(...ahead.mock.invocationCallOrder)).toBeLessThan(
    Math.min(...submit.mock.invocationCallOrder.slice(1)), // the first is of what came before
  );
  const compiled = ahead.mock.calls.length;
  const again = work();
  expect(await again.data()).toEqual(await warm.data());
  expect(now).not.toHaveBeenCalled();
  expect(ahead).toHaveBeenCalledTimes(compiled);
});

test('work that reads, uploads large values and frees its tensors gives what it gives otherwise', async () => {
  const work = async () => {
    const results: number[] = [];
    for (let i = 0; i < 4; i++) {
      const y = tf.tidy(() => tf.mean(tf.log1p(tf.abs(tf.tensor1d(new Float32Array(50_000).fill(i))))));
      const z = tf.tidy(() => tf.mean(tf.log1p(tf.abs(tf.tensor1d(new Float32Array(50_000).fill(-i))))));
      results.push(...(await Promise.all([y.data(), z.data()])).map(([value]) => value!));
      tf.dispose([y, z]);
    }
    return results;
  };
  const warm = await opened().warmUp(work);
  for (let i = 0; i < 4; i++) for (const j of [0, 1]) expect(warm[2 * i + j]).toBeCloseTo(Math.log1p(i), 4);
  expect(await work()).toEqual(warm);
});

test('more uniforms than are kept, while nothing is dispatched yet', async () => {
  const x = spread([1600]);
  const last = await opened().warmUp(() =>
    tf.tidy(() => {
      let y: tf.Tensor = tf.slice(x, [0], [1]);
      for (let i = 1; i < 1500; i++) {
        const next = tf.slice(x, [i], [1]);
        if (i === 1499) y = tf.add(y, next);
        tf.dispose(next);
      }
      return y;
    }),
  );
  const values = await x.data();
  expect(((await (last as tf.Tensor).data()) as Float32Array)[0]).toBeCloseTo(values[0]! + values[1499]!, 5);
});

test('work that throws ends the warm-up', async () => {
  await expect(
    opened().warmUp(() => {
      throw new Error('in the work');
    }),
  ).rejects.toThrow('in the work');
  expect(Array.from(await tf.neg(tf.tensor1d([1, 2])).data())).toEqual([-1, -2]);
});
