import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { type Unary, unary } from './elementwise.ts';
import { elu, leaky, relu, relu6, sigmoid } from './elementwise-functions.ts';
import { broadcastStrides, rowMajor, stridedMap } from './strided-map.ts';

export type Activation = tf.fused.Activation;

/** What follows a matmul or convolution: y -> activation(y + bias). */
export interface Finish {
  readonly bias?: tf.TensorInfo | undefined;
  readonly activation?: Activation | undefined;
  /** of prelu */
  readonly slopes?: tf.TensorInfo | undefined;
  /** of leakyrelu */
  readonly alpha?: number | undefined;
}

const simple: Partial<Record<Activation, Unary>> = { relu, relu6, elu, sigmoid };

/** activation(y + bias) in one dispatch; `y` is freed. Bias and slopes broadcast to y's shape. */
export function finish(backend: WebgpuBackend, y: tf.TensorInfo, how: Finish): tf.TensorInfo {
  const { bias, activation = 'linear', slopes, alpha = 0.2 } = how;
  if (!bias && activation === 'linear') return y;
  const activate: Unary = simple[activation] ?? (activation === 'leakyrelu' ? leaky : (v) => v);
  const label = `Bias and ${activation}`;
  const made =
    !bias && !slopes
      ? unary(backend, y, { label, value: activate, constants: [alpha] })
      : stridedMap(backend, {
          label: `${label}${bias ? '' : ' alone'}`,
          inputs: [
            { tensor: y, strides: rowMajor(y.shape) },
            ...[bias, slopes]
              .filter((tensor) => tensor !== undefined)
              .map((tensor) => ({ tensor, strides: broadcastStrides(tensor.shape, y.shape) })),
          ],
          shape: y.shape,
          dtype: y.dtype,
          constants: [alpha],
          functions: ({ float }) =>
            `fn bent(v: ${float}, slope: ${float}) -> ${float} { return select(v, slope * v, v < ${float}()); }`,
          value: ([v, ...rest], types) => {
            const sum = bias ? `(${v} + ${rest[0]})` : v!;
            if (slopes) return `bent(${sum}, ${rest.at(-1)})`;
            return activate(sum, { ...types, own: types.float, constant: (name) => `${types.float}(${name})` });
          },
        });
  backend.disposeData(y.dataId);
  return made;
}
