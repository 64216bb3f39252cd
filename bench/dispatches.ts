import type { WebgpuBackend } from '@slimsam/tensor-webgpu';

/** How many dispatches a piece of work makes. */
export async function countDispatches(backend: WebgpuBackend, work: () => void | Promise<void>): Promise<number> {
  const dispatch = backend.run;
  let dispatches = 0;
  backend.run = (...call) => {
    dispatches++;
    return dispatch.apply(backend, call);
  };
  try {
    await work();
  } finally {
    backend.run = dispatch;
  }
  return dispatches;
}
