import * as tf from '@tensorflow/tfjs-core';
import { rounded } from '../kernels/elementwise/half.ts';
import { type Kernel, kernel, type Tensors } from '../kernels/kernel.ts';
import { adamStepKernels } from './adam-step/adam-step.kernel.ts';
import { attentionKernels } from './attention/attention.kernel.ts';
import { headsKernels } from './attention/heads.kernel.ts';
import { relativePositionsKernels } from './attention/relative-positions.kernel.ts';
import { geluForward, geluGradient } from './gelu/gelu.wgsl.ts';
import { layerNormKernels } from './layer-norm/layer-norm.kernel.ts';
import { linearKernels } from './linear/linear.kernel.ts';
import { squaredDistanceKernels } from './squared-distance/squared-distance.kernel.ts';
import { windowsKernels } from './windows/windows.kernel.ts';

const sizeOf = ({ shape }: tf.TensorInfo): number => tf.util.sizeFromShape(shape);
const like = ({ shape }: tf.TensorInfo) => ({ shape, dtype: 'float32' as const });

/** The fused kernels behind the ops; the backend registers them. */
export const opKernels: readonly Kernel[] = [
  ...adamStepKernels,
  ...attentionKernels,
  ...headsKernels,
  ...relativePositionsKernels,
  ...windowsKernels,
  ...layerNormKernels,
  ...linearKernels,
  ...squaredDistanceKernels,
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
];
