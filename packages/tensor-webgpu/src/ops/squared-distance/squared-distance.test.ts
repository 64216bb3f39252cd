import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { asGpu, backendWithOps, expectNear, values } from '../../../test/ops-testing.ts';
import { runFused } from '../fused.ts';

const backend = backendWithOps();

/** Against float64. */
async function check(shape: readonly number[]): Promise<void> {
  const [first, second] = [values(shape, 1), values(shape, 2)];
  const sum = first.data.reduce((total, x, i) => total + (x - second.data[i]!) ** 2, 0);
  const live = tf.memory().numTensors;
  const [x, y] = [first, second].map(({ data }) => tf.tensor(Float32Array.from(data), [...shape])) as [
    tf.Tensor,
    tf.Tensor,
  ];
  const dy = tf.scalar(-0.75);
  const distance = runFused('SquaredDistance', { x, y })[0]!;
  const dx = runFused('SquaredDistanceGrad', { x, y, dy })[0]!;
  expect([distance.shape, dx.shape]).toEqual([[], shape]);
  expectNear('distance', await distance.data(), Float64Array.of(sum), 1e-6);
  const slopes = first.data.map((value, i) => -1.5 * (value - second.data[i]!));
  expectNear('gradient', await dx.data(), slopes, 1e-6);
  tf.dispose([x, y, dy, distance, dx]);
  expect(tf.memory().numTensors).toBe(live);
}

// 64 invocations of four values a workgroup, 512 or 16,384 at most, blocks of 32 groups of four
test.each([[[1]], [[3, 5]], [[255]], [[257]], [[2, 1021]], [[70_001]], [[3, 97, 1021]]])(
  'the squared distance of two tensors and its gradient: %j',
  async (shape) => {
    await check(shape);
    await asGpu(backend(), () => check(shape));
  },
);
