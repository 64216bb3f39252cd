/** What went wrong on a device: the first cause is told by everything that follows. */
export class DeviceFailure {
  #cause: Error | undefined;

  /** `memory`: bytes in tensors and bytes kept for reuse, for what is said when there is no more. */
  constructor(device: GPUDevice, memory: () => { live: number; idle: number }) {
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      const { live, idle } = memory();
      const kind =
        error.constructor.name === 'GPUOutOfMemoryError'
          ? `out of memory with ${live} bytes in tensors and ${idle} kept for reuse, use smaller batches or images: `
          : '';
      this.#cause ??= failure(`webgpu: ${kind}${error.message}`);
    });
    void device.lost.then(({ reason, message }) => {
      this.#cause ??= failure(`webgpu: the device was lost (${reason}: ${message})`);
    });
  }

  get cause(): Error | undefined {
    return this.#cause;
  }

  /** A pipeline did not compile: the cause of what else went wrong. */
  refused(message: string): void {
    this.#cause = failure(message);
  }
}

const failure = (message: string): Error =>
  new Error(`${message.trim().replace(/\.$/, '')}; results since then are lost, create the backend again`);
