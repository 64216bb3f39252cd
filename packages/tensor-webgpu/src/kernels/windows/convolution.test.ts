import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { expectSame, integers, openedBackend, spread } from '../../../test/both-backends.ts';

const backend = openedBackend();

type Shape4D = [number, number, number, number];
type Padding = 'same' | 'valid' | number | tf.backend_util.ExplicitPadding;

// sums of up to 9 x 14 products of numbers up to 4
const tolerance = 3e-5;

/** The values and both gradients of op(x, w), weighted so that every output counts differently. */
const withGradients = (op: (x: tf.Tensor, w: tf.Tensor) => tf.Tensor, x: number[], w: number[]) =>
  expectSame(() => {
    const [a, b] = [spread(x), spread(w, { seed: 2 })];
    const weighted = (p: tf.Tensor, q: tf.Tensor) => {
      const y = op(p, q);
      return tf.sum(tf.mul(y, spread(y.shape, { seed: 3 }))) as tf.Scalar;
    };
    return [op(a, b), ...tf.grads(weighted as (...args: tf.Tensor[]) => tf.Scalar)([a, b])];
  }, tolerance);

describe('conv2d with its gradients', () => {
  const cases: [string, Shape4D, Shape4D, [number, number], Padding][] = [
    ['1 x 1: a matmul', [2, 5, 7, 14], [1, 1, 14, 9], [1, 1], 'same'],
    ['1 x 1 with strides', [1, 5, 7, 3], [1, 1, 3, 5], [2, 3], 'valid'],
    ['3 x 3, same', [2, 7, 5, 8], [3, 3, 8, 12], [1, 1], 'same'],
    ['odd channels, valid', [1, 9, 8, 3], [3, 2, 3, 5], [1, 1], 'valid'],
    ['strides, same', [2, 8, 9, 4], [3, 3, 4, 7], [2, 3], 'same'],
    ['a stride beyond the filter', [1, 9, 9, 2], [2, 2, 2, 3], [3, 4], 'valid'],
    [
      'explicit padding',
      [1, 5, 6, 3],
      [3, 3, 3, 4],
      [2, 1],
      [
        [0, 0],
        [2, 1],
        [0, 3],
        [0, 0],
      ],
    ],
    ['a filter as large as the image', [3, 4, 4, 6], [4, 4, 6, 2], [1, 1], 'valid'],
    ['one value', [1, 1, 1, 1], [1, 1, 1, 1], [1, 1], 'same'],
  ];
  test.each(cases)('%s', async (_name, x, w, strides, pad) => {
    await withGradients((a, b) => tf.conv2d(a as tf.Tensor4D, b as tf.Tensor4D, strides, pad), x, w);
  });

  test('dilations and channels first', async () => {
    const [x, w] = [() => spread([2, 9, 8, 3]) as tf.Tensor4D, () => spread([3, 2, 3, 5], { seed: 2 }) as tf.Tensor4D];
    await expectSame(() => [
      tf.conv2d(x(), w(), 1, 'same', 'NHWC', [2, 3]),
      tf.conv2d(x(), w(), 1, 'valid', 'NHWC', [2, 1]),
    ]);
    const first = () => tf.transpose(x(), [0, 3, 1, 2]);
    await expectSame(() => tf.conv2d(first(), w(), [2, 1], 'valid', 'NCHW'), tolerance);
  });

  test('transposed, and its gradient', async () => {
    await withGradients(
      (a, b) => tf.conv2dTranspose(a as tf.Tensor4D, b as tf.Tensor4D, [2, 8, 10, 5], [2, 2], 'same'),
      [2, 4, 5, 3],
      [3, 3, 5, 3],
    );
  });

  test('taps in groups where the columns of all of them are too many for one binding', async () => {
    await tf.setBackend('slimsam-webgpu');
    const { facts } = backend();
    const columns = 13 * 11 * 9 * 4 * 4; // bytes
    const limited = Object.create(facts, { maxBindingBytes: { value: columns / 2 } });
    Object.defineProperty(backend(), 'facts', { value: limited, configurable: true });
    try {
      await withGradients(
        (a, b) => tf.conv2d(a as tf.Tensor4D, b as tf.Tensor4D, 1, 'same'),
        [1, 13, 11, 4],
        [3, 3, 4, 4],
      );
    } finally {
      Object.defineProperty(backend(), 'facts', { value: facts, configurable: true });
    }
  });
});

test('conv3d with its gradients', async () => {
  const conv = (strides: [number, number, number], pad: 'same' | 'valid') => (a: tf.Tensor, b: tf.Tensor) =>
    tf.conv3d(a as tf.Tensor5D, b as tf.Tensor5D, strides, pad);
  await withGradients(conv([1, 1, 1], 'same'), [2, 3, 5, 4, 3], [2, 3, 3, 3, 5]);
  await withGradients(conv([2, 1, 3], 'valid'), [1, 5, 4, 7, 4], [3, 2, 2, 4, 2]);
});

describe('depthwise with its gradients', () => {
  const cases: [string, Shape4D, Shape4D, [number, number], Padding][] = [
    ['four channels at once', [2, 7, 6, 8], [3, 3, 8, 1], [1, 1], 'same'],
    ['odd channels', [1, 6, 5, 3], [3, 2, 3, 1], [1, 1], 'valid'],
    ['several outputs a channel', [2, 5, 6, 3], [3, 3, 3, 2], [2, 2], 'same'],
    ['padding', [1, 5, 5, 4], [2, 2, 4, 3], [1, 1], 1],
  ];
  test.each(cases)('%s', async (_name, x, w, strides, pad) => {
    await withGradients((a, b) => tf.depthwiseConv2d(a as tf.Tensor4D, b as tf.Tensor4D, strides, pad), x, w);
  });

  test('more rows than partial sums: they are added in groups', async () => {
    await withGradients(
      (a, b) => tf.depthwiseConv2d(a as tf.Tensor4D, b as tf.Tensor4D, 1, 'same'),
      [3, 300, 2, 64],
      [5, 5, 64, 1],
    );
  });

  test('dilations; strides with dilations are refused', async () => {
    const [x, w] = [() => spread([1, 9, 9, 4]) as tf.Tensor4D, () => spread([3, 3, 4, 2], { seed: 2 }) as tf.Tensor4D];
    await expectSame(() => tf.depthwiseConv2d(x(), w(), 1, 'same', 'NHWC', [2, 3]));
    await tf.setBackend('slimsam-webgpu');
    tf.tidy(() => {
      expect(() => tf.depthwiseConv2d(x(), w(), 2, 'same', 'NHWC', 2)).toThrow(/strides or dilations/i);
    });
  });
});

describe('fused', () => {
  const activations: tf.fused.Activation[] = ['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu', 'prelu'];
  test.each(activations)('%s after a convolution, a depthwise one and a matmul', async (activation) => {
    const more = (C: number) => ({
      bias: spread([C], { seed: 5 }) as tf.Tensor1D,
      activation,
      ...(activation === 'prelu' && { preluActivationWeights: spread([C], { seed: 6 }) }),
      ...(activation === 'leakyrelu' && { leakyreluAlpha: 0.3 }),
    });
    const x = () => spread([2, 5, 6, 3]) as tf.Tensor4D;
    const w = () => spread([3, 3, 3, 7], { seed: 2 }) as tf.Tensor4D;
    const matrices = () => ({ a: spread([5, 9]), b: spread([9, 7], { seed: 2 }) });
    await expectSame(
      () => [
        tf.fused.conv2d({ x: x(), filter: w(), strides: 1, pad: 'same', ...more(7) }),
        tf.fused.depthwiseConv2d({ x: x(), filter: tf.slice(w(), 0, 3), strides: 1, pad: 'same', ...more(21) }),
        tf.fused.matMul({ ...matrices(), ...more(7) }),
        tf.fused.matMul({ ...matrices(), activation, ...(activation === 'prelu' && more(7)) }),
      ],
      tolerance,
    );
  });

  test('gradients', async () => {
    const of = (x: tf.Tensor, filter: tf.Tensor, bias: tf.Tensor) =>
      tf.fused.conv2d({
        x: x as tf.Tensor4D,
        filter: filter as tf.Tensor4D,
        strides: [2, 1],
        pad: 'same',
        bias,
        activation: 'relu',
      });
    await expectSame(
      () =>
        tf.grads((x, w, b) => tf.sum(tf.square(of(x!, w!, b!))) as tf.Scalar)([
          spread([2, 5, 6, 3]),
          spread([3, 3, 3, 4], { seed: 2 }),
          spread([4], { seed: 3 }),
        ]),
      1e-4, // squares of sums
    );
  });
});

test('matmul and einsum of integers', async () => {
  await expectSame(() => tf.matMul(integers([5, 7]), integers([7, 3], { seed: 2 })));
  await expectSame(() => tf.einsum('ij,jk->ki', integers([5, 7]), integers([7, 3], { seed: 2 })));
});

test('einsum, which has no gradient in tfjs-core', async () => {
  const pairs: [string, number[], number[]][] = [
    ['ij,jk->ik', [5, 7], [7, 3]],
    ['bij,bjk->bki', [2, 5, 7], [2, 7, 3]],
    ['bi,bj->bij', [3, 5], [3, 4]],
    ['i,i->', [9], [9]],
    ['i,j->ji', [4], [3]],
  ];
  for (const [equation, a, b] of pairs)
    await expectSame(() => tf.einsum(equation, spread(a), spread(b, { seed: 2 })), tolerance);
  // tfjs-backend-cpu cannot sum letters of one operand alone
  await expectSame(() => {
    const [a, b] = [spread([2, 3, 4]), spread([5, 4], { seed: 2 })];
    if (tf.getBackend() !== 'cpu') return [tf.einsum('abc,dc->bd', a, b), tf.einsum('abc,dc->', a, b)];
    const product = tf.matMul(tf.sum(a, 0), b, false, true);
    return [product, tf.sum(product)];
  }, 1e-4); // a sum of 120 products
  await expectSame(() => [tf.einsum('abc->ca', spread([2, 3, 4])), tf.einsum('ij->', spread([3, 5]))]);
});
