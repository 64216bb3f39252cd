import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { expectSame, integers, openedBackend, spread } from '../../../test/both-backends.ts';

openedBackend();

const boxes = () => tf.tensor2d([0.1, 0.2, 0.8, 0.9, 0.9, 0.8, 0.1, -0.1, -0.2, 0, 1.3, 1], [3, 4]);

test('crop and resize', async () => {
  const image = () => spread([2, 7, 9, 3]) as tf.Tensor4D;
  const which = () => tf.tensor1d([0, 1, 1], 'int32');
  for (const method of ['bilinear', 'nearest'] as const)
    for (const size of [
      [5, 4],
      [1, 1],
      [11, 2],
    ] as [number, number][])
      await expectSame(() => tf.image.cropAndResize(image(), boxes(), which(), size, method, -3));
});

test('transform', async () => {
  const matrix = () => tf.tensor2d([0.9, 0.3, -2, -0.2, 1.1, 1.5, 0.01, -0.02], [1, 8]);
  for (const mode of ['constant', 'reflect', 'wrap', 'nearest'] as const)
    for (const method of ['nearest', 'bilinear'] as const)
      await expectSame(
        // tfjs-backend-cpu only does the first image of a batch
        () => tf.image.transform(spread([1, 6, 7, 3]) as tf.Tensor4D, matrix(), method, mode, 0.5, [8, 9]),
        1e-4, // places are rounded differently in float32
      );
});

test('transform of each image by its own matrix', async () => {
  await tf.setBackend('slimsam-webgpu');
  const image = spread([2, 5, 4, 2]) as tf.Tensor4D;
  const matrices = tf.tensor2d([1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 0], [2, 8]);
  const both = tf.image.transform(image, matrices, 'nearest', 'constant', 7);
  const values = await both.data();
  const from = await image.data();
  for (let i = 0; i < values.length; i++) {
    const [c, x, y, b] = [i % 2, Math.floor(i / 2) % 4, Math.floor(i / 8) % 5, Math.floor(i / 40)];
    const [X, Y] = b === 0 ? [x + 1, y] : [x, y + 2];
    expect(values[i]).toBe(X < 4 && Y < 5 ? from[((b * 5 + Y) * 4 + X) * 2 + c] : 7);
  }
  tf.dispose([image, matrices, both]);
});

test('rotate and flip', async () => {
  const image = () => tf.cast(integers([1, 6, 7, 4]), 'float32') as tf.Tensor4D;
  await expectSame(() => [
    tf.image.rotateWithOffset(image(), 0.4),
    tf.image.rotateWithOffset(image(), -1.2, 9, [0.2, 0.7]),
    tf.image.rotateWithOffset(image(), 2, [1, 2, 3]),
    tf.image.flipLeftRight(spread([2, 3, 5, 3]) as tf.Tensor4D),
  ]);
});

test('suppression of overlapping boxes', async () => {
  const corners = () => tf.tensor2d([0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 10, 1, 11, 0, 10.1, 1, 11.1], [4, 4]);
  const scores = () => tf.tensor1d([0.9, 0.75, 0.6, 0.95]);
  await expectSame(() => tf.image.nonMaxSuppression(corners(), scores(), 3, 0.5, 0.2));
  await expectSame(() => {
    const { selectedIndices, selectedScores } = tf.image.nonMaxSuppressionWithScore(
      corners(),
      scores(),
      3,
      0.5,
      0.2,
      0.5,
    );
    return [selectedIndices!, selectedScores!];
  });
  await tf.setBackend('slimsam-webgpu');
  const large = tf.square(spread([100, 4])) as tf.Tensor2D;
  const many = tf.square(spread([100])) as tf.Tensor1D;
  expect(() => tf.image.nonMaxSuppression(large, many, 3)).toThrow(/known on the CPU.*\[100,4\].*Async/s);
  const kept = await tf.image.nonMaxSuppressionAsync(large, many, 3);
  expect(kept.size).toBeGreaterThan(0);
  tf.dispose([large, many, kept]);
});

test('suppression of overlapping boxes, padded to a size', async () => {
  const corners = () => tf.tensor2d([0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 10, 1, 11, 0, 10.1, 1, 11.1], [4, 4]);
  const scores = () => tf.tensor1d([0.9, 0.75, 0.6, 0.95]);
  await expectSame(() => {
    const padded = tf.image.nonMaxSuppressionPadded(corners(), scores(), 3, 0.5, 0.2, true);
    return [padded.selectedIndices!, padded.validOutputs!];
  });
});
