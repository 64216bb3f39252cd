import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { rounded } from '../kernels/half.ts';
import type { Kernel } from '../kernels/index.ts';
import { matmul } from '../kernels/matmul.ts';
import { type AdamSpec, adam } from './adam-step.wgsl.ts';
import { attentionKernels } from './attention.kernel.ts';
import { geluActivation, geluForward, geluGradient } from './gelu.wgsl.ts';
import { layerNormKernels } from './layer-norm.kernel.ts';
import type { LinearActivation } from './linear.ts';

const sizeOf = ({ shape }: tf.TensorInfo): number => tf.util.sizeFromShape(shape);
const like = ({ shape }: tf.TensorInfo) => ({ shape, dtype: 'float32' as const });

const activations: Record<LinearActivation, string> = {
  gelu: geluActivation,
  relu: 'fn activation(v: vec4f) -> vec4f { return select(v, vec4f(), v < vec4f()); }', // NaN stays
};

/** The fused kernels behind the ops; the backend registers them. */
export const opKernels: readonly Kernel[] = [
  ...attentionKernels,
  ...layerNormKernels,
  {
    kernelName: 'Half',
    kernelFunc: ({ inputs, backend }) => {
      const webgpu = backend as WebgpuBackend;
      if (!webgpu.facts.features.includes('shader-f16'))
        throw new Error(
          `half: expected an adapter with the feature shader-f16, got ${webgpu.facts.name}; keep to float32 on it`,
        );
      return rounded(webgpu, inputs.x as tf.TensorInfo);
    },
  },
  {
    kernelName: 'Gelu',
    kernelFunc: ({ inputs, backend }) => {
      const { x } = inputs as Record<'x', tf.TensorInfo>;
      const webgpu = backend as WebgpuBackend;
      return webgpu.run(geluForward(sizeOf(x), webgpu.isHalf(x)), [x], [like(x)])[0]!;
    },
  },
  {
    kernelName: 'GeluGrad',
    kernelFunc: ({ inputs, backend }) => {
      const { x, dy } = inputs as Record<'x' | 'dy', tf.TensorInfo>;
      return (backend as WebgpuBackend).run(geluGradient(sizeOf(x)), [x, dy], [like(x)])[0]!;
    },
  },
  {
    kernelName: 'LinearBias',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { x, weight, bias } = inputs as Record<'x' | 'weight' | 'bias', tf.TensorInfo>;
      const webgpu = backend as WebgpuBackend;
      const name = attrs?.activation as LinearActivation | undefined;
      const activation = name && activations[name];
      return matmul(webgpu, x, weight, { transposeB: true, bias, half: webgpu.isHalf(weight), activation });
    },
  },
  {
    kernelName: 'AdamStep',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { weight, gradient, m, v } = inputs as Record<'weight' | 'gradient' | 'm' | 'v', tf.TensorInfo>;
      const program = adam(sizeOf(weight), attrs as unknown as AdamSpec);
      return (backend as WebgpuBackend).run(
        program,
        [weight, gradient, m, v],
        [like(weight), like(weight), like(weight)],
      );
    },
  },
];
