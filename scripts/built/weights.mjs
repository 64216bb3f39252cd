import assert from 'node:assert/strict';
import test from 'node:test';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import {
  dims,
  linear,
  loadWeights,
  parseSafetensors,
  saveWeights,
  scope,
  serializeSafetensors,
} from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

test('weights: bytes of a safetensors file, both ways', () => {
  const data = new Float32Array([1, -2, 3.5, 0, 5, 6]);
  const bytes = serializeSafetensors({ w: { dtype: 'F32', shape: [2, 3], data } }, { step: '7' });
  const { tensors, metadata } = parseSafetensors(bytes, 'memory');
  assert.deepEqual(tensors.w?.shape, [2, 3]);
  assert.deepEqual(tensors.w?.data, data);
  assert.equal(metadata.step, '7');
});

test('weights: tensors of a device through a file, and the table of axes', async () => {
  const backend = await useWebgpu();
  try {
    const weights = { 'a.weight': tf.randomNormal([3, 2]), 'a.bias': tf.zeros([3]) };
    assert.equal(dims(linear('a', 'hidden', 'embed'), weights).get('hidden')?.size, 3);
    await saveWeights('weights.safetensors', weights);
    const loaded = await loadWeights('weights.safetensors', { expected: { 'a.weight': [3, 2] } });
    assert.deepEqual(await scope(loaded.weights, 'a')('weight').data(), await weights['a.weight'].data());
  } finally {
    backend.dispose();
  }
});
