import { cpus } from 'node:os';
import util from 'node:util';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';

/** The names that `--backend` takes. */
export const backends = ['webgpu', 'cpu', 'tfjs-node-gpu'] as const;

/** An open TensorFlow.js backend: the name of what computes, and how to let go of it. */
export interface OpenBackend {
  readonly adapter: string;
  close(): void;
}

/**
 * Opens a TensorFlow.js backend by name and makes it the current one.
 *
 * @param name `webgpu` (ours), `cpu` (tfjs-backend-cpu) or `tfjs-node-gpu` (an optional package, imported when asked for)
 * @throws when the name is unknown, there is no WebGPU adapter, or the optional package is not installed
 */
export async function openBackend(name: string): Promise<OpenBackend> {
  if (name === 'webgpu') {
    const backend = await useWebgpu();
    return { adapter: backend.facts.name, close: () => backend.dispose() };
  }
  if (name === 'cpu') {
    await import('@tensorflow/tfjs-backend-cpu');
    await tf.setBackend('cpu');
    return { adapter: `tfjs-backend-cpu on ${cpus()[0]?.model ?? 'an unknown CPU'}`, close: () => {} };
  }
  if (name === 'tfjs-node-gpu') {
    await importNodeGpu();
    await tf.setBackend('tensorflow');
    return { adapter: 'tfjs-node-gpu (TensorFlow with CUDA)', close: () => {} };
  }
  throw new Error(`--backend: expected one of ${backends.join(', ')}, got '${name}'`);
}

/** tfjs-node still calls util.isNullOrUndefined, which Node 23 removed. */
async function importNodeGpu(): Promise<void> {
  const legacy = util as typeof util & { isNullOrUndefined?: (value: unknown) => boolean };
  legacy.isNullOrUndefined ??= (value) => value === null || value === undefined;
  try {
    const optionalPackage: string = '@tensorflow/tfjs-node-gpu'; // a variable, since its types are not installed
    await import(optionalPackage);
  } catch (error) {
    throw new Error(
      "--backend tfjs-node-gpu: expected the optional package '@tensorflow/tfjs-node-gpu' to load; install it with " +
        `'npm install @tensorflow/tfjs-node-gpu' (it needs CUDA) or take --backend webgpu`,
      { cause: error },
    );
  }
}
