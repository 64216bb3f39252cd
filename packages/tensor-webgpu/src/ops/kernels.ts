import type { Kernel } from '../kernels/index.ts';
import { attentionKernels } from './attention.kernel.ts';

/** The fused kernels behind the ops; the backend registers them. */
export const opKernels: readonly Kernel[] = [...attentionKernels];
