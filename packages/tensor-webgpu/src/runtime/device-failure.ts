/** What went wrong on a device: the first cause is told by everything that follows. */
export class DeviceFailure {
  readonly #device: GPUDevice;
  readonly #onError: (event: Event) => void;
  readonly #memory: () => { live: number; idle: number };
  #cause: Error | undefined;

  /** `memory`: bytes in tensors and bytes kept for reuse, for what is said when there is no more. `shared`: others see the device's errors too. */
  constructor(
    device: GPUDevice,
    { memory, shared }: { memory: () => { live: number; idle: number }; shared: boolean },
  ) {
    this.#device = device;
    this.#memory = memory;
    this.#onError = (event) => {
      if (!shared) event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      if (error.constructor.name === 'GPUOutOfMemoryError') this.outOfMemory(error.message);
      else this.#cause ??= failure(`webgpu: ${error.message}`);
    };
    device.addEventListener('uncapturederror', this.#onError);
    void device.lost.then(({ reason, message }) => {
      this.#cause ??= failure(`webgpu: the device was lost (${reason}: ${message})`);
    });
  }

  get cause(): Error | undefined {
    return this.#cause;
  }

  /** Looks at the device no longer. */
  dispose(): void {
    this.#device.removeEventListener('uncapturederror', this.#onError);
  }

  /** There is no room for a buffer. */
  outOfMemory(message: string): void {
    const { live, idle } = this.#memory();
    this.#cause ??= failure(
      `webgpu: out of memory with ${live} bytes in tensors and ${idle} kept for reuse, use smaller batches or images: ${message}`,
    );
  }

  /** A pipeline did not compile: the cause of what else went wrong. */
  refused(message: string): void {
    this.#cause = failure(message);
  }
}

const failure = (message: string): Error =>
  new Error(`${message.trim().replace(/\.$/, '')}; results since then are lost, create the backend again`);
