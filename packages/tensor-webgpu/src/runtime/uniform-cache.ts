/** Uniform buffers by their words: a training step repeats those of the step before. */
export class UniformCache {
  readonly #device: GPUDevice;
  readonly #most: number;
  readonly #flush: () => void;
  readonly #buffers = new Map<string, GPUBuffer>();

  /** `flush` submits the work encoded so far: a destroyed buffer must not be in an open encoder. */
  constructor(device: GPUDevice, { most, flush }: { most: number; flush: () => void }) {
    this.#device = device;
    this.#most = most;
    this.#flush = flush;
  }

  get(words: Uint32Array<ArrayBuffer>): GPUBuffer {
    const key = words.join();
    const known = this.#buffers.get(key);
    if (known) return known;
    if (this.#buffers.size >= this.#most) {
      this.#flush();
      this.destroy();
    }
    const size = Math.ceil(words.byteLength / 16) * 16;
    const buffer = this.#device.createBuffer({ size, usage: uniformUsage, mappedAtCreation: true, label: 'uniforms' });
    new Uint32Array(buffer.getMappedRange()).set(words);
    buffer.unmap();
    this.#buffers.set(key, buffer);
    return buffer;
  }

  destroy(): void {
    for (const buffer of this.#buffers.values()) buffer.destroy();
    this.#buffers.clear();
  }
}

const uniformUsage = 0x40; // GPUBufferUsage.UNIFORM
