import type { KernelConfig } from '@tensorflow/tfjs-core';
import { elementwiseKernels } from './elementwise-kernels.ts';
import { gatherKernels } from './gather.ts';
import { matmulKernels } from './matmul.ts';
import { movementKernels } from './movement.ts';
import { reduceKernels } from './reduce.ts';
import { resizeKernels } from './resize.ts';
import { scanKernels } from './scan.ts';
import { softmaxKernels } from './softmax.ts';

/** A kernel without the name of the backend that runs it. */
export type Kernel = Omit<KernelConfig, 'backendName'>;

/** Every TensorFlow.js kernel of this backend. */
export const kernels: readonly Kernel[] = [
  ...matmulKernels,
  ...elementwiseKernels,
  ...reduceKernels,
  ...scanKernels,
  ...softmaxKernels,
  ...movementKernels,
  ...gatherKernels,
  ...resizeKernels,
];
