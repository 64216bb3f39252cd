/** A buffer that waits to be used again, and how many submits there were when it was let go. */
interface Idle {
  readonly buffer: GPUBuffer;
  readonly submits: number;
}

/**
 * Storage buffers by size: released ones are handed out again, in queue order. Live and idle ones together stay below the most that was
 * ever live at once and some spare bytes: a training step then finds all buffers of the last one. New buffers cost page faults and
 * clearing, on lavapipe as long as the step's own work.
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #idle = new Map<number, Idle[]>(); // the size used last is the last
  readonly #spareBytes: number;
  readonly #flush: () => void;
  readonly #doomed: GPUBuffer[] = [];
  #submits = 0;
  #idleBytes = 0;
  #liveBytes = 0;
  #mostLiveBytes = 0;

  /** `flush` submits the work encoded so far and then calls `submitted`. */
  constructor(device: GPUDevice, { spareBytes, flush }: { spareBytes: number; flush: () => void }) {
    this.#device = device;
    this.#spareBytes = spareBytes;
    this.#flush = flush;
  }

  /** Bytes of the buffers that tensors hold. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Bytes of the buffers that wait to be reused. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** A buffer of at least `bytes`; its content is undefined. `user` names it in errors when it is made now. */
  acquire(bytes: number, user: string): GPUBuffer {
    const size = paddedSize(bytes);
    const reused = this.#take(size, 'newest');
    this.#grow(size);
    return reused ?? this.#device.createBuffer({ size, usage: storageUsage, label: label(size, user) });
  }

  /**
   * A buffer that holds `values`. A write overtakes work that is encoded but not submitted, so the buffer is one that no such work
   * uses: idle since before the last submit, or new; for large values work is submitted rather than memory added.
   */
  acquireWith(values: Float32Array | Int32Array, user: string): GPUBuffer {
    const size = paddedSize(values.byteLength);
    const small = size <= smallBytes;
    const oldest = this.#idle.get(size)?.[0];
    if (oldest && oldest.submits === this.#submits && !small) this.#flush();
    const reused = oldest && oldest.submits < this.#submits ? this.#take(size, 'oldest') : undefined;
    this.#grow(size);
    if (small && !reused) {
      const made = this.#device.createBuffer({
        size,
        usage: storageUsage,
        mappedAtCreation: true,
        label: label(size, user),
      });
      new Uint8Array(made.getMappedRange()).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      made.unmap();
      return made;
    }
    const buffer = reused ?? this.#device.createBuffer({ size, usage: storageUsage, label: label(size, user) });
    // writeBuffer refuses shared memory
    const words = values.buffer instanceof ArrayBuffer ? (values as Float32Array<ArrayBuffer>) : values.slice();
    this.#device.queue.writeBuffer(buffer, 0, words);
    return buffer;
  }

  /** Takes a buffer back. Work already encoded may still use it: whatever is encoded later comes later in the queue. */
  release(buffer: GPUBuffer): void {
    const { size } = buffer;
    this.#liveBytes -= size;
    this.#idleBytes += size;
    const list = this.#idle.get(size) ?? [];
    list.push({ buffer, submits: this.#submits });
    this.#touch(size, list);
  }

  /** The work encoded so far is submitted: what is too much can go. */
  submitted(): void {
    this.#submits++;
    for (const buffer of this.#doomed.splice(0)) buffer.destroy();
  }

  #grow(size: number): void {
    this.#liveBytes += size;
    this.#mostLiveBytes = Math.max(this.#mostLiveBytes, this.#liveBytes);
    const most = this.#mostLiveBytes + this.#spareBytes;
    while (this.#liveBytes + this.#idleBytes > most)
      this.#doomed.push(this.#take(this.#idle.keys().next().value!, 'oldest')!);
  }

  #take(size: number, which: 'newest' | 'oldest'): GPUBuffer | undefined {
    const list = this.#idle.get(size);
    if (!list) return undefined;
    const taken = which === 'newest' ? list.pop() : list.shift();
    if (list.length === 0) this.#idle.delete(size);
    else this.#touch(size, list);
    this.#idleBytes -= size;
    return taken?.buffer;
  }

  #touch(size: number, list: Idle[]): void {
    this.#idle.delete(size);
    this.#idle.set(size, list);
  }
}

// GPUBufferUsage.STORAGE | COPY_SRC | COPY_DST, by number since Node has no such global
const storageUsage = 0x80 | 0x04 | 0x08;
const smallBytes = 1 << 16;

/** Sizes are rounded up to 256 bytes, so that near sizes share buffers. */
const paddedSize = (bytes: number): number => Math.max(256, Math.ceil(bytes / 256) * 256);

const label = (size: number, user: string): string => `${size} bytes first used by ${user}`;
