import * as tf from '@tensorflow/tfjs-core';
import { test } from 'vitest';
import { expectSame, openedBackend, spread } from '../../../test/both-backends.ts';

openedBackend();

test('sparse segments, rows and reshapes', async () => {
  const picks = () => tf.tensor1d([3, 0, 1, 3], 'int32');
  const ids = () => tf.tensor1d([0, 0, 2, 2], 'int32');
  await expectSame(() => [
    tf.sparse.sparseSegmentSum(spread([4, 3]), picks(), ids()),
    tf.sparse.sparseSegmentMean(spread([4, 5]), picks(), ids()),
  ]);
  const places = () => tf.tensor2d([0, 1, 3, 2, 0, 0], [3, 2], 'int32');
  await expectSame(
    () => Object.values(tf.sparse.sparseFillEmptyRows(places(), tf.tensor1d([1, 2, 3]), [5, 4], -1)) as tf.Tensor[],
  );
  await expectSame(() => Object.values(tf.sparse.sparseReshape(places(), [4, 3], [2, -1])) as tf.Tensor[]);
});
