import type { KernelConfig } from '@tensorflow/tfjs-core';
import { matmulKernels } from './matmul.ts';

/** A kernel without the name of the backend that runs it. */
export type Kernel = Omit<KernelConfig, 'backendName'>;

/** Every TensorFlow.js kernel of this backend. */
export const kernels: readonly Kernel[] = [...matmulKernels];
