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

/** `axis`: the last, or 1 as in maps whose channels come first. */
function specOf(backend: WebgpuBackend, { shape }: tf.TensorInfo, attrs: tf.NamedAttrMap): LayerNormSpec {
  const { axis, epsilon = 0 } = attrs as { axis: number; epsilon?: number };
  const C = shape[axis]!;
  const step = tf.util.sizeFromShape(shape.slice(axis + 1));
  const team = backend.facts.isCpu || step > 1 ? 1 : 64; // neighbouring rows lie side by side when the channels come first
  return { rows: tf.util.sizeFromShape(shape) / C, C, step, epsilon, team, half: false };
}

const float = (...shape: number[]) => ({ shape, dtype: 'float32' as const });

export const layerNormKernels: readonly Kernel[] = [
  {
    kernelName: 'LayerNorm',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { x, scale, offset } = inputs as Record<'x' | 'scale' | 'offset', tf.TensorInfo>;
      const webgpu = backend as WebgpuBackend;
      const spec = { ...specOf(webgpu, x, attrs!), half: webgpu.isHalf(x) };
      return webgpu.run(layerNormForward(spec), [x, scale, offset], [float(...x.shape), float(spec.rows, 2)]);
    },
  },
  {
    kernelName: 'LayerNormGrad',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { x, scale, statistics, dy } = inputs as Record<'x' | 'scale' | 'statistics' | 'dy', tf.TensorInfo>;
      const webgpu = backend as WebgpuBackend;
      const spec = specOf(webgpu, x, attrs!);
      const dx = webgpu.run(layerNormInputGradient(spec), [x, dy, scale, statistics], [float(...x.shape)])[0]!;
      const part = float(layerNormChunks(spec), spec.C);
      const parts = webgpu.run(layerNormPartialSums(spec), [x, dy, statistics], [part, part]);
      const totals = webgpu.run(layerNormTotals(spec), parts, [float(spec.C), float(spec.C)]);
      for (const { dataId } of parts) webgpu.disposeData(dataId);
      return [dx, ...totals];
    },
  },
];
