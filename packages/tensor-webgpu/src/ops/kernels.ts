import * as tf from '@tensorflow/tfjs-core';
import { rounded } from '../kernels/elementwise/half.ts';
import { type Kernel, kernel, type Tensors } from '../kernels/kernel.ts';
import { matmul } from '../kernels/matmul/matmul.ts';
import { type AdamSpec, adam } from './adam-step/adam-step.wgsl.ts';
import { attentionKernels } from './attention/attention.kernel.ts';
import { headsKernels } from './attention/heads.kernel.ts';
import { relativePositionsKernels } from './attention/relative-positions.kernel.ts';
import { geluForward, geluGradient } from './gelu/gelu.wgsl.ts';
import { layerNormKernels } from './layer-norm/layer-norm.kernel.ts';
import type { LinearActivation } from './linear/linear.ts';
import { windowsKernels } from './windows/windows.kernel.ts';

const sizeOf = ({ shape }: tf.TensorInfo): number => tf.util.sizeFromShape(shape);
const like = ({ shape }: tf.TensorInfo) => ({ shape, dtype: 'float32' as const });

/** The fused kernels behind the ops; the backend registers them. */
export const opKernels: readonly Kernel[] = [
  ...attentionKernels,
  ...headsKernels,
  ...relativePositionsKernels,
  ...windowsKernels,
  ...layerNormKernels,
  kernel<Tensors<'x'>>('Half', (backend, { x }) => {
    if (!backend.facts.features.includes('shader-f16'))
      throw new Error(
        `half: expected an adapter with the feature shader-f16, got ${backend.facts.name}; keep to float32 on it`,
      );
    return rounded(backend, x);
  }),
  kernel<Tensors<'x'>>(
    'Gelu',
    (backend, { x }) => backend.run(geluForward(sizeOf(x), backend.isHalf(x)), [x], [like(x)])[0]!,
  ),
  kernel<Tensors<'x' | 'dy'>>(
    'GeluGrad',
    (backend, { x, dy }) => backend.run(geluGradient(sizeOf(x)), [x, dy], [like(x)])[0]!,
  ),
  kernel<Tensors<'x' | 'weight' | 'bias', 'residual'>, { activation?: LinearActivation } | undefined>(
    'LinearBias',
    (backend, { x, weight, bias, residual }, attrs) =>
      matmul(backend, x, weight, {
        transposeB: true,
        bias,
        residual,
        half: backend.isHalf(weight) && !residual, // the stream stays float32
        activation: attrs?.activation,
      }),
  ),
  kernel<Tensors<'weight' | 'gradient' | 'm' | 'v'>, AdamSpec & { consume?: boolean }>(
    'AdamStep',
    (backend, { weight, gradient, m, v }, spec) => {
      const old = [weight, m, v];
      const over = spec.consume === true && old.every((tensor) => backend.isAlone(tensor) && !backend.isHalf(tensor));
      const program = adam(sizeOf(weight), spec, { over });
      return backend.run(
        program,
        over ? [gradient] : [gradient, ...old],
        old.map((tensor) => ({ ...like(weight), over: over ? tensor : undefined })),
      );
    },
  ),
];
