import assert from 'node:assert/strict';
import test from 'node:test';
import { adam, loadTraining, saveTraining, train } from '@slimsam/distill';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';

test('distill: Adam fits a line, and the state goes through a file', async () => {
  const backend = await useWebgpu();
  try {
    const losses = [];
    for await (const { loss, state, epochDone } of train({
      weights: { w: tf.tensor1d([0]) },
      loss: ({ weights, batch }) => {
        const target = tf.mul(batch, 3);
        const total = tf.mean(tf.squaredDifference(target, tf.mul(batch, weights.w ?? 0)));
        return { total: /** @type {tf.Scalar} */ (total), parts: {} };
      },
      optimizer: adam(),
      batches: () => [tf.tensor1d([1, 2, 3, 4])],
      epochs: 40,
      learningRate: 0.2,
    })) {
      losses.push(loss);
      if (epochDone) await saveTraining('training.safetensors', state);
    }
    assert.ok(Number(losses.at(-1)) < 0.05 * Number(losses[0]), `${losses}`);
    const { state } = await loadTraining('training.safetensors');
    assert.equal(state.position.step, 40);
    assert.ok(Math.abs(Number((await state.weights.w?.data())?.[0]) - 3) < 0.6);
  } finally {
    backend.dispose();
  }
});
