/** Storage buffers by size: released ones are handed out again, in queue order, up to a cap of idle bytes. */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #idle = new Map<number, GPUBuffer[]>();
  readonly #capBytes: number;
  #idleBytes = 0;
  #liveBytes = 0;

  constructor(device: GPUDevice, capBytes: number) {
    this.#device = device;
    this.#capBytes = capBytes;
  }

  /** Bytes of the buffers that tensors hold. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Bytes of the buffers that wait to be reused. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** A buffer of at least `bytes`; its content is undefined. */
  acquire(bytes: number): GPUBuffer {
    const size = paddedSize(bytes);
    this.#liveBytes += size;
    const reused = this.#idle.get(size)?.pop();
    if (reused) {
      this.#idleBytes -= size;
      return reused;
    }
    return this.#device.createBuffer({ size, usage: storageUsage, label: `tensor ${size} B` });
  }

  /** A new buffer that already holds `values`: no copy waits in the queue for it. */
  acquireWith(values: ArrayBufferView): GPUBuffer {
    const size = paddedSize(values.byteLength);
    this.#liveBytes += size;
    const buffer = this.#device.createBuffer({
      size,
      usage: storageUsage,
      mappedAtCreation: true,
      label: `tensor ${size} B`,
    });
    new Uint8Array(buffer.getMappedRange()).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    buffer.unmap();
    return buffer;
  }

  /** Takes a buffer back. Work already encoded may still use it: whatever is encoded later comes later in the queue. */
  release(buffer: GPUBuffer): void {
    this.#liveBytes -= buffer.size;
    if (this.#idleBytes + buffer.size > this.#capBytes) {
      this.#overflow.push(buffer);
      return;
    }
    this.#idleBytes += buffer.size;
    const list = this.#idle.get(buffer.size);
    if (list) list.push(buffer);
    else this.#idle.set(buffer.size, [buffer]);
  }

  readonly #overflow: GPUBuffer[] = [];

  /** Destroys what is above the cap. Call it after a submit: a destroyed buffer must not be in an open encoder. */
  trim(): void {
    for (const buffer of this.#overflow.splice(0)) buffer.destroy();
  }

  destroy(): void {
    for (const list of this.#idle.values()) for (const buffer of list) buffer.destroy();
    this.#idle.clear();
    this.#idleBytes = 0;
    this.trim();
  }
}

// GPUBufferUsage.STORAGE | COPY_SRC | COPY_DST, by number since Node has no such global
const storageUsage = 0x80 | 0x04 | 0x08;

/** Sizes are rounded up to 256 bytes, so that near sizes share buffers. */
const paddedSize = (bytes: number): number => Math.max(256, Math.ceil(bytes / 256) * 256);
