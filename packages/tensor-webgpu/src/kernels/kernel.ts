import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';

/** A kernel without the name of the backend that runs it. */
export type Kernel = Omit<tf.KernelConfig, 'backendName'>;

/** The tensors that a kernel is called with, by their names; some may be left out. */
export type Tensors<Names extends string, Optional extends string = never> = Readonly<Record<Names, tf.TensorInfo>> &
  Readonly<Partial<Record<Optional, tf.TensorInfo>>>;

/**
 * The one way to make a kernel: `run` gets the backend, the inputs (named, or a list) and the attributes with their types, which
 * TensorFlow.js does not tell.
 */
export function kernel<Inputs, Attrs = unknown>(
  kernelName: string,
  run: (backend: WebgpuBackend, inputs: Inputs, attrs: Attrs) => tf.TensorInfo | tf.TensorInfo[],
): Kernel {
  return {
    kernelName,
    kernelFunc({ inputs, attrs, backend }: Parameters<tf.KernelFunc>[0]) {
      const call: { inputs: unknown; attrs: unknown } = { inputs, attrs };
      return run(backend as WebgpuBackend, call.inputs as Inputs, call.attrs as Attrs);
    },
  };
}
