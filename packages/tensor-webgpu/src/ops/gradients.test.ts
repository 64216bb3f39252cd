import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { beforeAll, expect, it } from 'vitest';
import { useWebgpu } from '../index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const reduce = { sum: tf.sum, mean: tf.mean };
/** dy of an output that keeps axis 1 alone. */
const dy = tf.tensor1d([1, -2, 3]);
const x = () => tf.randomNormal<tf.Rank.R3>([2, 3, 4], 0, 1, 'float32', 1);

it.each([
  ['sum', [0, 2], false, 1],
  ['sum', [-1, 0], true, 1],
  ['mean', [0, 2], false, 8],
] as const)('spreads the gradient of %s over the axes %j', (name, axes, keepDims, count) => {
  const weighted = (x: tf.Tensor) =>
    tf.sum(tf.mul(tf.reshape(reduce[name](x, [...axes], keepDims), [3]), dy)) as tf.Scalar;
  const gradient = tf.grad(weighted)(x()).arraySync() as number[][][];
  const expected = [1, -2, 3].map((value) => Array<number>(4).fill(value / count));
  expect(gradient).toEqual([expected, expected]);
  expect(
    tf
      .grad((x) => tf.mean(x) as tf.Scalar)(x())
      .arraySync(),
  ).toEqual(tf.fill([2, 3, 4], 1 / 24).arraySync());
});

it('takes its place again when WebGPU becomes the backend', async () => {
  const backend = await useWebgpu();
  const ours = tf.getGradient(tf.Softmax);
  const theirs: tf.GradConfig = { kernelName: tf.Softmax, gradFunc: () => ({}) }; // as an import of tfjs-node does
  tf.registerGradient(theirs);
  await tf.setBackend('cpu');
  expect(tf.getGradient(tf.Softmax)).toBe(theirs);
  await tf.setBackend('slimsam-webgpu');
  expect(tf.getGradient(tf.Softmax)).toBe(ours);
  backend.dispose();
  await tf.setBackend('cpu');
});
