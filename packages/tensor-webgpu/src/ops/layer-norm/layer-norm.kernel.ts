import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { type Kernel, kernel, type Tensors } from '../../kernels/kernel.ts';
import {
  type LayerNormSpec,
  layerNormChunks,
  layerNormForward,
  layerNormInputGradient,
  layerNormPartialSums,
  layerNormTotals,
} from './layer-norm.wgsl.ts';

interface LayerNormAttrs {
  /** The last, or 1 as in maps whose channels come first. */
  readonly axis: number;
  readonly epsilon?: number;
}

function specOf(backend: WebgpuBackend, { shape }: tf.TensorInfo, attrs: LayerNormAttrs): LayerNormSpec {
  const { axis, epsilon = 0 } = attrs;
  const C = shape[axis]!;
  const step = tf.util.sizeFromShape(shape.slice(axis + 1));
  const team = backend.facts.isCpu || step > 1 ? 1 : 64; // neighbouring rows lie side by side when the channels come first
  return { rows: tf.util.sizeFromShape(shape) / C, C, step, epsilon, team, half: false };
}

const float = (...shape: number[]) => ({ shape, dtype: 'float32' as const });

export const layerNormKernels: readonly Kernel[] = [
  kernel<Tensors<'x' | 'scale' | 'offset'>, LayerNormAttrs>('LayerNorm', (backend, { x, scale, offset }, attrs) => {
    const spec = { ...specOf(backend, x, attrs), half: backend.isHalf(x) };
    return backend.run(layerNormForward(spec), [x, scale, offset], [float(...x.shape), float(spec.rows, 2)]);
  }),
  kernel<Tensors<'x' | 'scale' | 'statistics' | 'dy'>, LayerNormAttrs>('LayerNormGrad', (backend, inputs, attrs) => {
    const { x, scale, statistics, dy } = inputs;
    const spec = specOf(backend, x, attrs);
    const dx = backend.run(layerNormInputGradient(spec), [x, dy, scale, statistics], [float(...x.shape)])[0]!;
    const part = float(layerNormChunks(spec), spec.C);
    const parts = backend.run(layerNormPartialSums(spec), [x, dy, statistics], [part, part]);
    const totals = backend.run(layerNormTotals(spec), parts, [float(spec.C), float(spec.C)]);
    for (const { dataId } of parts) backend.disposeData(dataId);
    return [dx, ...totals];
  }),
];
