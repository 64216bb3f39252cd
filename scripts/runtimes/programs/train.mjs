// tensor-webgpu alone, where there is no Node: Deno's own WebGPU, or Bun's with Dawn
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { attention, gelu, layerNorm } from '@slimsam/tensor-webgpu/ops';
import * as tf from '@tensorflow/tfjs-core';

const backend = await useWebgpu();
/** @param {import('@tensorflow/tfjs-core').Tensor} value @param {number} expected @param {string} name */
const same = async (value, expected, name) => {
  const got = Number((await value.data())[0]);
  if (!(Math.abs(got - expected) < 1e-4)) throw new Error(`${name}: expected ${expected}, got ${got}`);
};
const x = tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]);
await same(tf.mean(x), 3.5, 'mean');
await same(tf.sum(tf.grad((x) => tf.mean(tf.square(x)))(x)), 7, 'gradient of a mean');
await same(tf.sum(tf.softmax(x)), 2, 'softmax');
await same(tf.sum(tf.grad((x) => tf.sum(gelu(x)))(tf.zeros([5]))), 2.5, 'gradient of GELU');
await same(tf.sum(layerNorm(x, { scale: tf.ones([3]), offset: tf.ones([3]) })), 6, 'layer norm');
const tokens = tf.ones([2, 9, 8]);
await same(tf.sum(attention({ query: tokens, key: tokens, value: tokens })), 144, 'attention');
const weight = tf.variable(tf.scalar(0));
const optimizer = tf.train.sgd(0.03);
for (let i = 0; i < 30; i++) optimizer.minimize(() => tf.mean(tf.squaredDifference(tf.mul(x, weight), tf.mul(x, 3))));
await same(weight, 3, 'a fitted line');
console.log(backend.facts.name);
backend.dispose();
