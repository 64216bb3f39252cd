/** Uniform buffers by their words: a training step repeats those of the step before. */
export class UniformCache {
  readonly #device: GPUDevice;
  readonly #most: number;
  readonly #flush: () => void;
  readonly #buffers = new Map<string, GPUBuffer>();
  readonly #doomed: GPUBuffer[] = [];

  /** `flush` submits the work encoded so far and then calls `submitted`. */
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
      this.#doomed.push(...this.#buffers.values());
      this.#buffers.clear();
      this.#flush();
    }
    const size = Math.ceil(words.byteLength / 16) * 16;
    const buffer = this.#device.createBuffer({ size, usage: uniformUsage, mappedAtCreation: true, label: 'uniforms' });
    new Uint32Array(buffer.getMappedRange()).set(words);
    buffer.unmap();
    this.#buffers.set(key, buffer);
    return buffer;
  }

  /** The work encoded so far is submitted: a destroyed buffer must not be in an open encoder. */
  submitted(): void {
    for (const buffer of this.#doomed.splice(0)) buffer.destroy();
  }
}

const uniformUsage = 0x40; // GPUBufferUsage.UNIFORM
