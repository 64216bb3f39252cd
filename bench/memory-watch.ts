import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';

/** The most that a piece of work held at once, bytes. */
export interface Peak {
  /** Buffers of tensors, and of those with the buffers kept for reuse. */
  readonly live: number;
  readonly allocated: number;
  /** The largest tensor bound. */
  readonly binding: number;
  /** Of the process, with the adapter's memory where that is a CPU. */
  readonly resident: number;
}

/** Runs `work` and looks at the backend's memory after every dispatch. */
export async function watchMemory(backend: WebgpuBackend, work: () => Promise<void>): Promise<Peak> {
  let [live, allocated, binding, resident] = [0, 0, 0, 0];
  const run = backend.run.bind(backend);
  backend.run = (program, inputs, outputs) => {
    const made = run(program, inputs, outputs);
    const { numBytesInGPU, numBytesIdle } = backend.memory();
    live = Math.max(live, numBytesInGPU);
    allocated = Math.max(allocated, numBytesInGPU + numBytesIdle);
    resident = Math.max(resident, process.memoryUsage.rss());
    for (const x of [...inputs, ...made])
      binding = Math.max(binding, (backend.isHalf(x) ? 2 : 4) * tf.util.sizeFromShape(x.shape));
    return made;
  };
  try {
    await work();
    resident = Math.max(resident, process.memoryUsage.rss());
  } finally {
    backend.run = run;
  }
  return { live, allocated, binding, resident };
}
