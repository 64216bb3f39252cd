import assert from 'node:assert/strict';
import test from 'node:test';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { gelu, linear } from '@slimsam/tensor-webgpu/ops';
import * as tf from '@tensorflow/tfjs-core';

test('tensor-webgpu: a product, a gradient of TensorFlow.js’s and one of our own', async () => {
  const backend = await useWebgpu();
  try {
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const y = tf.tensor2d([5, 6, 7, 8], [2, 2]);
    assert.deepEqual([...(await tf.matMul(x, y).data())], [19, 22, 43, 50]);
    const gradient = tf.grad((a) => tf.sum(tf.matMul(a, y)))(x);
    assert.deepEqual([...(await gradient.data())], [11, 15, 11, 15]);
    const slope = tf.grad((a) => tf.sum(gelu(a)))(tf.tensor1d([0]));
    assert.ok(Math.abs(Number((await slope.data())[0]) - 0.5) < 1e-6);
    assert.deepEqual([...(await linear(x, { weight: y }).data())], [17, 23, 39, 53]);
  } finally {
    backend.dispose();
  }
});
