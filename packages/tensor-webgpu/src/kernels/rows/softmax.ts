import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { type SoftmaxSpec, softmaxForward, softmaxGradient, type Team } from './softmax.wgsl.ts';

/** On a CPU adapter a subgroup, or one alone where that has none: barriers are slow there. */
function teamOf({ facts: { isCpu, subgroupSize } }: WebgpuBackend): Team {
  if (!isCpu) return { size: 64, by: 'memory' };
  return { size: Math.max(1, subgroupSize), by: subgroupSize > 0 ? 'subgroup' : 'memory' };
}

/** The rows of [..., C]: none where there are no values. */
function specOf(backend: WebgpuBackend, { shape }: tf.TensorInfo): SoftmaxSpec {
  const C = shape.at(-1) ?? 1;
  return { rows: C === 0 ? 0 : tf.util.sizeFromShape(shape) / C, C, team: teamOf(backend) };
}

const like = ({ shape }: tf.TensorInfo) => ({ shape, dtype: 'float32' as const });

/** Softmax, or its logarithm, over the last axis of [..., C]. */
export function softmax(
  backend: WebgpuBackend,
  logits: tf.TensorInfo,
  { logarithm = false }: { readonly logarithm?: boolean } = {},
): tf.TensorInfo {
  return backend.run(softmaxForward(specOf(backend, logits), logarithm), [logits], [like(logits)])[0]!;
}

/** Over the last axis, as TensorFlow.js calls them; `SoftmaxGrad` is ours and serves the gradient of the first. */
export const softmaxKernels: readonly Kernel[] = [
  kernel<Tensors<'logits'>>(tf.Softmax, (backend, { logits }) => softmax(backend, logits)),
  kernel<Tensors<'logits'>>(tf.LogSoftmax, (backend, { logits }) => softmax(backend, logits, { logarithm: true })),
  kernel<Tensors<'y' | 'dy'>>(
    'SoftmaxGrad',
    (backend, { y, dy }) => backend.run(softmaxGradient(specOf(backend, y)), [y, dy], [like(y)])[0]!,
  ),
];
