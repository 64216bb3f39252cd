import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';

/** Makes kernels of functions that take the backend, the named inputs and the attributes, with their types. */
export const kernelsOn =
  <Named>() =>
  <Attrs>(kernelName: string, run: (backend: WebgpuBackend, inputs: Named, attrs: Attrs) => tf.TensorInfo): Kernel => ({
    kernelName,
    kernelFunc: ({ inputs, attrs, backend }) =>
      run(backend as WebgpuBackend, inputs as Named, attrs as unknown as Attrs),
  });
