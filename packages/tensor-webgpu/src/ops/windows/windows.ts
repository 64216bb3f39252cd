import * as tf from '@tensorflow/tfjs-core';
import { expectTensors, hasKernel, runFused } from '../fused.ts';

type Shape4D = [number, number, number, number];

const counts = (h: number, w: number, size: number) => [Math.ceil(h / size), Math.ceil(w / size)] as const;

/** `partitionWindows` composed of TensorFlow.js ops. @throws when x has not four dimensions */
export function partitionWindowsReference(x: tf.Tensor, size: number): tf.Tensor4D {
  expectTensors('partitionWindows', { x });
  const [B, h, w, C] = checkMap('partitionWindows', x, size);
  const [rows, columns] = counts(h, w, size);
  return tf.tidy(() => {
    const padded = tf.pad(x, [
      [0, 0],
      [0, rows * size - h],
      [0, columns * size - w],
      [0, 0],
    ]);
    const split = tf.reshape(padded, [B, rows, size, columns, size, C]);
    return tf.reshape(tf.transpose(split, [0, 1, 3, 2, 4, 5]), [B * rows * columns, size, size, C]);
  });
}

/**
 * A map in square windows, padded with zeros below and to the right (segment-anything, modeling/image_encoder.py: window_partition):
 * x [B, h, w, C] -> [B * windows, size, size, C].
 *
 * @throws when x has not four dimensions, or size is not 1, 2, …
 */
export function partitionWindows(x: tf.Tensor, size: number): tf.Tensor4D {
  expectTensors('partitionWindows', { x });
  if (x.size === 0 || x.dtype !== 'float32' || !hasKernel('PartitionWindows'))
    return partitionWindowsReference(x, size);
  checkMap('partitionWindows', x, size);
  return runFused('PartitionWindows', { x }, { size })[0] as tf.Tensor4D;
}

/** `mergeWindows` composed of TensorFlow.js ops. @throws when the windows are not those of such a map */
export function mergeWindowsReference(windows: tf.Tensor, residual: tf.Tensor): tf.Tensor4D {
  expectTensors('mergeWindows', { windows, residual });
  const [B, h, w, C] = checkWindows(windows, residual);
  const size = windows.shape[1]!;
  const [rows, columns] = counts(h, w, size);
  return tf.tidy(() => {
    const split = tf.reshape(windows, [B, rows, columns, size, size, C]);
    const joined = tf.reshape(tf.transpose(split, [0, 1, 3, 2, 4, 5]), [B, rows * size, columns * size, C]);
    return tf.add(residual, tf.slice(joined, [0, 0, 0, 0], [B, h, w, C])) as tf.Tensor4D;
  });
}

/**
 * The inverse of `partitionWindows`, added to a map: windows [B * windows, size, size, C], residual [B, h, w, C] -> [B, h, w, C].
 *
 * @throws when the windows are not those of such a map
 */
export function mergeWindows(windows: tf.Tensor, residual: tf.Tensor): tf.Tensor4D {
  expectTensors('mergeWindows', { windows, residual });
  if (residual.size === 0 || !hasKernel('MergeWindows')) return mergeWindowsReference(windows, residual);
  checkWindows(windows, residual);
  return runFused('MergeWindows', { windows, residual })[0] as tf.Tensor4D;
}

tf.registerGradient({
  kernelName: 'PartitionWindows',
  inputsToSave: ['x'],
  gradFunc: (dy, [x]) => ({
    x: () => runFused('MergeWindows', { windows: dy as tf.Tensor }, { shape: x!.shape })[0]!,
  }),
});

tf.registerGradient({
  kernelName: 'MergeWindows',
  inputsToSave: ['windows'],
  gradFunc: (dy, [windows]) => ({
    windows: () => runFused('PartitionWindows', { x: dy as tf.Tensor }, { size: windows!.shape[1]! })[0]!,
    residual: () => tf.clone(dy as tf.Tensor),
  }),
});

function checkMap(label: string, x: tf.Tensor, size: number): Shape4D {
  if (x.rank !== 4) throw new Error(`${label}: expected x [B, h, w, C], got [${x.shape}]; channels come last`);
  if (!Number.isInteger(size) || size < 1) throw new Error(`${label}: expected size to be 1, 2, …, got ${size}`);
  return x.shape as Shape4D;
}

function checkWindows(windows: tf.Tensor, residual: tf.Tensor): Shape4D {
  const size = windows.shape[1] ?? 0;
  const [B, h, w, C] = checkMap('mergeWindows', residual, size);
  const [rows, columns] = counts(h, w, size);
  const expected = [B * rows * columns, size, size, C];
  if (!tf.util.arraysEqual(windows.shape, expected) || windows.dtype !== 'float32' || residual.dtype !== 'float32')
    throw new Error(
      `mergeWindows: expected windows [${expected}] float32 for a map [${residual.shape}] float32, got [${windows.shape}] ${windows.dtype}, ${residual.dtype}`,
    );
  return [B, h, w, C];
}
