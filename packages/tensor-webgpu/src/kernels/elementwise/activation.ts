import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { broadcastStrides, rowMajor, stridedMap } from '../maps/strided-map.ts';
import { elu, leaky, relu, relu6, sigmoid, type Unary } from './elementwise-functions.ts';

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

const simple: Partial<Record<Activation, Unary>> = { relu, relu6, elu, sigmoid, leakyrelu: leaky };

const finishing = memoised(({ activation, bias, slopes }: { activation: Activation; bias: boolean; slopes: boolean }) =>
  stridedMap({
    label: `Bias and ${activation}${bias ? '' : ' alone'}`,
    constants: 1,
    functions: ({ float }) =>
      `fn bent(v: ${float}, slope: ${float}) -> ${float} { return select(v, slope * v, v < ${float}()); }`,
    value: ([v, ...rest], types) => {
      const sum = bias ? `(${v} + ${rest[0]})` : v!;
      if (slopes) return `bent(${sum}, ${rest.at(-1)})`;
      return simple[activation]?.(sum, types) ?? sum;
    },
  }),
);

/** activation(y + bias) in one dispatch; `y` is freed. Bias and slopes broadcast to y's shape. */
export function finish(backend: WebgpuBackend, y: tf.TensorInfo, how: Finish): tf.TensorInfo {
  const { bias, activation = 'linear', slopes, alpha = 0.2 } = how;
  if (!bias && activation === 'linear') return y;
  const others = [bias, slopes].filter((tensor) => tensor !== undefined);
  const made = finishing({ activation, bias: bias !== undefined, slopes: slopes !== undefined })(backend, {
    inputs: [
      { tensor: y, strides: rowMajor(y.shape) },
      ...others.map((tensor) => ({ tensor, strides: broadcastStrides(tensor.shape, y.shape) })),
    ],
    shape: y.shape,
    dtype: y.dtype,
    constants: [alpha],
  });
  backend.disposeData(y.dataId);
  return made;
}
