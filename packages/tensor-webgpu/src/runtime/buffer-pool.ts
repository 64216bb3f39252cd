import { type GpuBuffer, nextId } from './gpu-buffer.ts';
import { awaitGpu } from './wait.ts';

interface PooledBuffer extends GpuBuffer {
  /** Another one, where there was no room for the first. */
  gpu: GPUBuffer;
  /** How many submits there were when it was let go. */
  released: number;
  /** Whether there is room for it is not known yet. */
  uncertain: boolean;
}

/** The idle buffers of one size. */
interface Shelf {
  /** The lowest id last. */
  readonly buffers: PooledBuffer[];
  /** When one was last taken or given back. */
  used: number;
}

/**
 * Storage buffers by size: released ones are handed out again, in queue order, the lowest id first: steps that do the same then get the
 * same buffers, and find their bind groups again. Live and idle ones together stay below the most that was ever live at once and some
 * spare bytes: a training step finds all buffers of the last one. New buffers cost page faults and clearing, on lavapipe as long as the
 * step's own work.
 *
 * Whether there is room for a large new buffer becomes known later: until then it is in doubt. Where there is none, the idle ones are
 * given back and it is made again.
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #shelves = new Map<number, Shelf>();
  readonly #spareBytes: (mostLiveBytes: number) => number;
  readonly #flush: () => void;
  readonly #doubt: (certain: Promise<void>) => void;
  readonly #refused: (message: string) => void;
  #disposed = false;
  readonly #doomed: GpuBuffer[] = [];
  readonly #made = new Set<GPUBuffer>();
  #clock = 0;
  #submits = 0;
  #idleBytes = 0;
  #liveBytes = 0;
  #mostLiveBytes = 0;

  /**
   * `flush` submits the work encoded so far and then calls `submitted`; `doubt` submits it too, and keeps what comes until it is certain that
   * there is room, or `refused` was called.
   */
  constructor(
    device: GPUDevice,
    {
      spareBytes,
      flush,
      doubt,
      refused,
    }: {
      spareBytes: (mostLiveBytes: number) => number;
      flush: () => void;
      doubt: (certain: Promise<void>) => void;
      refused: (message: string) => void;
    },
  ) {
    this.#device = device;
    this.#spareBytes = spareBytes;
    this.#flush = flush;
    this.#doubt = doubt;
    this.#refused = refused;
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
  acquire(bytes: number, user: string): GpuBuffer {
    const size = paddedSize(bytes);
    const shelf = this.#shelves.get(size);
    const reused = shelf?.buffers.pop();
    if (reused) return this.#taken(reused, shelf!);
    this.#grow(size);
    const descriptor = { size, usage: storageUsage, label: label(size, user) };
    return size >= doubtfulBytes ? this.#makeLarge(descriptor) : this.#make(descriptor);
  }

  /**
   * A buffer that holds `values`. A write overtakes work that is encoded but not submitted, so the buffer is one that no such work
   * uses: idle since before the last submit and certain to be there, or new; for large values work is submitted rather than memory added.
   */
  acquireWith(values: Float32Array | Int32Array, user: string): GpuBuffer {
    const size = paddedSize(values.byteLength);
    const small = size <= smallBytes;
    const shelf = this.#shelves.get(size);
    const settled = () =>
      shelf?.buffers.findLastIndex(({ released, uncertain }) => released < this.#submits && !uncertain) ?? -1;
    let at = settled();
    if (at < 0 && shelf && shelf.buffers.length > 0 && !small) {
      this.#flush();
      at = settled();
    }
    // writeBuffer refuses shared memory
    const words = values.buffer instanceof ArrayBuffer ? (values as Float32Array<ArrayBuffer>) : values.slice();
    const write = ({ gpu }: GpuBuffer) => this.#device.queue.writeBuffer(gpu, 0, words);
    let buffer: GpuBuffer;
    if (at >= 0) buffer = this.#taken(shelf!.buffers.splice(at, 1)[0]!, shelf!);
    else {
      this.#grow(size);
      const descriptor = { size, usage: storageUsage, label: label(size, user) };
      if (small) return this.#make({ ...descriptor, mappedAtCreation: true }, values);
      if (size >= doubtfulBytes) return this.#makeLarge(descriptor, write);
      buffer = this.#make(descriptor);
    }
    write(buffer);
    return buffer;
  }

  /** Takes a buffer back. Work already encoded may still use it: whatever is encoded later comes later in the queue. */
  release(buffer: GpuBuffer): void {
    const pooled = buffer as PooledBuffer;
    pooled.released = this.#submits;
    this.#liveBytes -= pooled.size;
    this.#idleBytes += pooled.size;
    let shelf = this.#shelves.get(pooled.size);
    if (!shelf) {
      shelf = { buffers: [], used: 0 };
      this.#shelves.set(pooled.size, shelf);
    }
    shelf.used = ++this.#clock;
    const { buffers } = shelf;
    let at = buffers.length;
    while (at > 0 && buffers[at - 1]!.id < pooled.id) at--;
    if (at === buffers.length) buffers.push(pooled);
    else buffers.splice(at, 0, pooled);
  }

  /** The work encoded so far is submitted: what is too much can go. */
  submitted(): void {
    this.#submits++;
    for (const { gpu } of this.#doomed) {
      gpu.destroy();
      this.#made.delete(gpu);
    }
    this.#doomed.length = 0;
  }

  /** Frees all buffers, those that tensors hold too. */
  dispose(): void {
    this.#disposed = true;
    for (const gpu of this.#made) gpu.destroy();
    this.#made.clear();
  }

  #taken(buffer: PooledBuffer, shelf: Shelf): PooledBuffer {
    shelf.used = ++this.#clock;
    this.#idleBytes -= buffer.size;
    this.#liveBytes += buffer.size;
    if (this.#liveBytes > this.#mostLiveBytes) this.#mostLiveBytes = this.#liveBytes;
    return buffer;
  }

  #make(descriptor: GPUBufferDescriptor, values?: Float32Array | Int32Array): PooledBuffer {
    const gpu = this.#device.createBuffer(descriptor);
    this.#made.add(gpu);
    if (values) {
      new Uint8Array(gpu.getMappedRange()).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      gpu.unmap();
    }
    return { gpu, id: nextId(), size: descriptor.size, released: 0, uncertain: false };
  }

  /** A buffer in doubt, filled by `write`. */
  #makeLarge(descriptor: GPUBufferDescriptor, write?: (buffer: GpuBuffer) => void): PooledBuffer {
    const device = this.#device;
    device.pushErrorScope('out-of-memory');
    const buffer = this.#make(descriptor);
    buffer.uncertain = true;
    const answer = device.popErrorScope();
    if (write) {
      device.pushErrorScope('validation'); // of a buffer for which there was no room
      write(buffer);
      void device.popErrorScope().catch(ignore);
    }
    const certain = this.#certain(buffer, { descriptor, answer, write }).catch(ignore); // a lost device is told elsewhere
    this.#doubt(
      certain.then(() => {
        buffer.uncertain = false;
      }),
    );
    return buffer;
  }

  async #certain(
    buffer: PooledBuffer,
    {
      descriptor,
      answer,
      write,
    }: {
      descriptor: GPUBufferDescriptor;
      answer: Promise<GPUError | null>;
      write: ((buffer: GpuBuffer) => void) | undefined;
    },
  ): Promise<void> {
    if (!(await answer) || this.#disposed) return;
    const device = this.#device;
    this.#giveBack();
    await awaitGpu(device.queue.onSubmittedWorkDone()); // they go when nothing uses them
    if (this.#disposed) return;
    this.#made.delete(buffer.gpu);
    device.pushErrorScope('out-of-memory');
    buffer.gpu = device.createBuffer(descriptor);
    this.#made.add(buffer.gpu);
    const refused = await device.popErrorScope();
    if (refused) this.#refused(refused.message);
    else write?.(buffer);
  }

  /** Frees the idle buffers that are certain to be there and that no work uses which is still to be submitted. */
  #giveBack(): void {
    for (const [size, { buffers }] of this.#shelves) {
      const isKept = ({ released, uncertain }: PooledBuffer) => released === this.#submits || uncertain;
      const kept = buffers.filter(isKept);
      for (const idle of buffers) {
        if (isKept(idle)) continue;
        this.#idleBytes -= size;
        idle.gpu.destroy();
        this.#made.delete(idle.gpu);
      }
      buffers.splice(0, buffers.length, ...kept);
    }
  }

  /** Room for a new buffer: where there is too much, those go whose size was not used for the longest time. */
  #grow(size: number): void {
    this.#liveBytes += size;
    this.#mostLiveBytes = Math.max(this.#mostLiveBytes, this.#liveBytes);
    const most = this.#mostLiveBytes + this.#spareBytes(this.#mostLiveBytes);
    while (this.#liveBytes + this.#idleBytes > most) {
      let oldest: Shelf | undefined;
      for (const shelf of this.#shelves.values())
        if (shelf.buffers.length > 0 && (!oldest || shelf.used < oldest.used)) oldest = shelf;
      const gone = oldest!.buffers.shift()!;
      this.#idleBytes -= gone.size;
      this.#doomed.push(gone);
      if (oldest!.buffers.length === 0) this.#shelves.delete(gone.size);
    }
  }
}

// GPUBufferUsage.STORAGE | COPY_SRC | COPY_DST, by number since Node has no such global
const storageUsage = 0x80 | 0x04 | 0x08;
const smallBytes = 1 << 16;
const doubtfulBytes = 1 << 22; // smaller ones share what drivers allocate at once
const ignore = (): void => undefined;

/** Sizes are rounded up to 256 bytes, so that near sizes share buffers. */
const paddedSize = (bytes: number): number => Math.max(256, Math.ceil(bytes / 256) * 256);

const label = (size: number, user: string): string => `${size} bytes first used by ${user}`;
