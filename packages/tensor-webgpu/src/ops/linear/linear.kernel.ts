import * as tf from '@tensorflow/tfjs-core';
import { type Kernel, kernel, type Tensors } from '../../kernels/kernel.ts';
import { matmul } from '../../kernels/matmul/matmul.ts';
import { sum } from '../../kernels/rows/reduce.ts';
import type { LinearActivation } from './linear.ts';

/** [..., C] as [rows, C]: the same values. */
function rows(x: tf.TensorInfo): tf.TensorInfo {
  const C = x.shape.at(-1)!;
  return x.shape.length === 2 ? x : { ...x, shape: [tf.util.sizeFromShape(x.shape) / C, C] };
}

/** The shape of x with another last dimension. */
const withLast = ({ shape }: tf.TensorInfo, C: number): number[] => [...shape.slice(0, -1), C];

/** A linear layer and its gradients by x, weight and bias. They take x and dy of any rank, so that no reshape stands beside them on the tape. */
export const linearKernels: readonly Kernel[] = [
  kernel<Tensors<'x' | 'weight' | 'bias', 'residual'>, { activation?: LinearActivation } | undefined>(
    'LinearBias',
    (backend, { x, weight, bias, residual }, attrs) => {
      const made = matmul(backend, rows(x), weight, {
        transposeB: true,
        bias,
        residual,
        half: backend.isHalf(weight) && !residual, // the stream stays float32
        activation: attrs?.activation,
      });
      return { ...made, shape: withLast(x, weight.shape[0]!) };
    },
  ),
  kernel<Tensors<'dy' | 'weight'>>('LinearInputGrad', (backend, { dy, weight }) => ({
    ...matmul(backend, rows(dy), weight),
    shape: withLast(dy, weight.shape[1]!),
  })),
  kernel<Tensors<'dy' | 'x'>>('LinearWeightGrad', (backend, { dy, x }) =>
    matmul(backend, rows(dy), rows(x), { transposeA: true }),
  ),
  kernel<Tensors<'dy'>>('LinearBiasGrad', (backend, { dy }) => sum(backend, rows(dy), [0])),
];
