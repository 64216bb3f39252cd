import type { BufferPool } from './buffer-pool.ts';
import type { GpuBuffer } from './gpu-buffer.ts';

/** Scalars repeat from step to step: equal ones share a buffer, which nothing ever writes. */
export class Constants {
  readonly #pool: BufferPool;
  readonly #most: number;
  readonly #byBits = new Map<number, GpuBuffer>();
  readonly #users = new Map<GpuBuffer, number>();
  #unused = 0;

  constructor(pool: BufferPool, most: number) {
    this.#pool = pool;
    this.#most = most;
  }

  /** Bytes of the buffers that wait for an equal scalar. */
  get idleBytes(): number {
    return this.#unused * 256;
  }

  acquireWith(word: Float32Array | Int32Array, user: string): GpuBuffer {
    const bits = new Uint32Array(word.slice().buffer)[0]!;
    const known = this.#byBits.get(bits);
    if (known) {
      const users = this.#users.get(known)!;
      if (users === 0) this.#unused--;
      this.#users.set(known, users + 1);
      return known;
    }
    if (this.#byBits.size >= this.#most) this.#clear();
    const buffer = this.#pool.acquireWith(word, user);
    if (this.#byBits.size < this.#most) {
      this.#byBits.set(bits, buffer);
      this.#users.set(buffer, 1);
    }
    return buffer;
  }

  /** Whether the buffer is one of these; it stays for the next scalar of the same value. */
  release(buffer: GpuBuffer): boolean {
    const users = this.#users.get(buffer);
    if (users === undefined) return false;
    this.#users.set(buffer, users - 1);
    if (users === 1) this.#unused++;
    return true;
  }

  #clear(): void {
    for (const [bits, buffer] of this.#byBits) {
      if (this.#users.get(buffer) !== 0) continue;
      this.#byBits.delete(bits);
      this.#users.delete(buffer);
      this.#pool.release(buffer);
    }
    this.#unused = 0;
  }
}
