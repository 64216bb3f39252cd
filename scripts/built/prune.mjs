import assert from 'node:assert/strict';
import test from 'node:test';
import { countParameters, importance, prune, select } from '@slimsam/prune';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { linear } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

test('prune: the larger half of a hidden layer stays', async () => {
  const backend = await useWebgpu();
  try {
    const axes = { ...linear('a', 'hidden', null), ...linear('b', null, 'hidden') };
    const weights = {
      'a.weight': tf.tensor2d([1, 1, 9, 9, 2, 2, 8, 8], [4, 2]),
      'a.bias': tf.zeros([4]),
      'b.weight': tf.ones([3, 4]),
      'b.bias': tf.zeros([3]),
    };
    const scores = await importance({ criterion: 'magnitude', weights, axes, dimensions: ['hidden'] });
    const { keep } = select({ importance: scores, ratio: 0.5, ranking: 'local', normalise: 'mean' });
    assert.deepEqual(keep, { hidden: [1, 3] });
    const slim = prune(weights, axes, keep);
    assert.deepEqual([...((await slim['a.weight']?.data()) ?? [])], [9, 9, 8, 8]);
    assert.equal(countParameters(slim), 4 + 2 + 6 + 3);
  } finally {
    backend.dispose();
  }
});
