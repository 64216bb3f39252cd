import * as tf from '@tensorflow/tfjs-core';
import { type Kernel, kernel, type Tensors } from '../../kernels/kernel.ts';
import { squaredDistanceGradient, squaredDistanceParts, squaredDistanceTotal } from './squared-distance.wgsl.ts';

const sizeOf = ({ shape }: tf.TensorInfo): number => tf.util.sizeFromShape(shape);
const float = (...shape: number[]) => ({ shape, dtype: 'float32' as const });

/** Of a training loss: sum (x - y)^2 [] of two tensors of one shape, not empty, and its gradient by x. */
export const squaredDistanceKernels: readonly Kernel[] = [
  kernel<Tensors<'x' | 'y'>>('SquaredDistance', (backend, { x, y }) => {
    const program = squaredDistanceParts(sizeOf(x), backend.facts.isCpu ? 512 : 16_384);
    const parts = backend.run(program, [x, y], [float(program.uniforms.row!)])[0]!;
    const total = backend.run(squaredDistanceTotal(sizeOf(parts)), [parts], [float()])[0]!;
    backend.disposeData(parts.dataId);
    return total;
  }),
  kernel<Tensors<'x' | 'y' | 'dy'>>(
    'SquaredDistanceGrad',
    (backend, { x, y, dy }) => backend.run(squaredDistanceGradient(sizeOf(x)), [x, y, dy], [float(...x.shape)])[0]!,
  ),
];
