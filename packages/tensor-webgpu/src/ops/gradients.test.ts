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

/** d sum(y w) / dx of an op by central differences, with weights w that tell every output apart. */
function expectGradient(op: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor): void {
  const shape = op(x).shape;
  const weights = tf.reshape(tf.linspace(-1, 2, tf.util.sizeFromShape(shape)), shape);
  const loss = (x: tf.Tensor) => tf.sum(tf.mul(op(x), weights)) as tf.Scalar;
  const gradient = tf.grad(loss)(x).dataSync();
  const values = x.dataSync();
  const step = 1 / 64; // exact, and these ops are linear or of the third degree at most
  values.forEach((_, i) => {
    const at = (by: number) =>
      loss(
        tf.tensor(
          values.map((v, k) => (k === i ? v + by : v)),
          x.shape,
        ),
      ).dataSync()[0]!;
    expect(gradient[i]!, `at ${i}`).toBeCloseTo((at(step) - at(-step)) / (2 * step), 3);
  });
}

it('has the gradient of products, also of zeros, over any axes', () => {
  const x = tf.tensor([1, -2, 0.5, 0, 3, 1.5, -1, 2, 0, 0, 1, 4], [2, 3, 2]);
  expectGradient((x) => tf.prod(x, 1), x);
  expectGradient((x) => tf.prod(x, [0], true), x);
  expectGradient((x) => tf.reshape(tf.prod(x, [0, 2]), [3]), x);
  expectGradient((x) => tf.reshape(tf.prod(x), [1]), tf.tensor([2, 0, -1.5]));
});

it('gives what is reflected back to where it came from', () => {
  const gradient = tf.grad(
    (x) =>
      tf.sum(
        tf.mirrorPad(
          x,
          [
            [1, 0],
            [0, 1],
          ],
          'reflect',
        ),
      ) as tf.Scalar,
  );
  expect(
    gradient(
      tf.tensor2d([
        [1, 2],
        [3, 4],
      ]),
    ).arraySync(),
  ).toEqual([
    [2, 1],
    [4, 2],
  ]);
  const x = tf.reshape(tf.linspace(0, 1, 12), [3, 4]);
  expectGradient(
    (x) =>
      tf.mirrorPad(
        x,
        [
          [2, 1],
          [1, 3],
        ],
        'reflect',
      ),
    x,
  );
  expectGradient(
    (x) =>
      tf.mirrorPad(
        x,
        [
          [3, 2],
          [0, 4],
        ],
        'symmetric',
      ),
    x,
  );
});
