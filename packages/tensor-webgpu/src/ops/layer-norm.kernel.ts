import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from '../kernels/index.ts';
import {
  type LayerNormSpec,
  layerNormChunks,
  layerNormForward,
  layerNormInputGradient,
  layerNormPartialSums,
  layerNormTotals,
} from './layer-norm.wgsl.ts';

function specOf(backend: WebgpuBackend, x: tf.TensorInfo, epsilon: number): LayerNormSpec {
  const C = x.shape[x.shape.length - 1]!;
  return { rows: tf.util.sizeFromShape(x.shape) / C, C, epsilon, team: backend.facts.isCpu ? 1 : 64, half: false };
}

const float = (...shape: number[]) => ({ shape, dtype: 'float32' as const });

export const layerNormKernels: readonly Kernel[] = [
  {
    kernelName: 'LayerNorm',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { x, scale, offset } = inputs as Record<'x' | 'scale' | 'offset', tf.TensorInfo>;
      const webgpu = backend as WebgpuBackend;
      const spec = { ...specOf(webgpu, x, attrs!.epsilon as number), half: webgpu.isHalf(x) };
      return webgpu.run(layerNormForward(spec), [x, scale, offset], [float(...x.shape), float(spec.rows, 2)]);
    },
  },
  {
    kernelName: 'LayerNormGrad',
    kernelFunc: ({ inputs, backend }) => {
      const { x, scale, statistics, dy } = inputs as Record<'x' | 'scale' | 'statistics' | 'dy', tf.TensorInfo>;
      const webgpu = backend as WebgpuBackend;
      const spec = specOf(webgpu, x, 0);
      const dx = webgpu.run(layerNormInputGradient(spec), [x, dy, scale, statistics], [float(...x.shape)])[0]!;
      const part = float(layerNormChunks(spec), spec.C);
      const parts = webgpu.run(layerNormPartialSums(spec), [x, dy, statistics], [part, part]);
      const totals = webgpu.run(layerNormTotals(spec), parts, [float(spec.C), float(spec.C)]);
      for (const { dataId } of parts) webgpu.disposeData(dataId);
      return [dx, ...totals];
    },
  },
];
