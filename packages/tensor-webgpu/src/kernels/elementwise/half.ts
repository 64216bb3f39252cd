import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { toHalf } from '../../program/half.wgsl.ts';

/** The same values in half precision. */
export function rounded(backend: WebgpuBackend, x: tf.TensorInfo): tf.TensorInfo {
  if (backend.isHalf(x)) return backend.makeView(x, x.shape);
  const elements = x.shape.reduce((product, extent) => product * extent, 1);
  return backend.run(toHalf(elements), [x], [x])[0]!;
}

/** What `use` makes of `x`, which is freed. */
export function replacing(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  use: (backend: WebgpuBackend, x: tf.TensorInfo) => tf.TensorInfo,
): tf.TensorInfo {
  const made = use(backend, x);
  backend.disposeData(x.dataId);
  return made;
}
