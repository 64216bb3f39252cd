import type { Program } from '../program/program.ts';
import { type GpuBuffer, nextId } from './gpu-buffer.ts';

interface Entry extends GpuBuffer {
  readonly words: Uint32Array<ArrayBuffer>;
}

/**
 * Uniform buffers by their words: a training step repeats those of the step before. At most twice `half` are kept: when so many are new,
 * those that were not used since the last time go.
 */
export class UniformCache {
  readonly #device: GPUDevice;
  readonly #half: number;
  readonly #flush: () => void;
  #young = new Map<number, Entry[]>();
  #old = new Map<number, Entry[]>();
  #count = 0;
  readonly #doomed: Entry[] = [];

  /** `flush` submits the work encoded so far and then calls `submitted`. */
  constructor(device: GPUDevice, { half, flush }: { half: number; flush: () => void }) {
    this.#device = device;
    this.#half = half;
    this.#flush = flush;
  }

  /**
   * The program's uniform, in the shader's order; undefined for a shader without.
   *
   * @throws when the program has not a number for each uniform of its shader
   */
  get({ shader, uniforms }: Program): GpuBuffer | undefined {
    const members = shader.uniforms;
    const count = members.length;
    if (count === 0) return undefined;
    if (count > ints.length) scratch(count);
    let hash = count;
    for (let i = 0; i < count; i++) {
      const { name, type } = members[i]!;
      const value = uniforms[name];
      if (value === undefined)
        throw new Error(`${shader.label}: expected a number for the uniform '${name}' (${type}), got none`);
      if (type === 'f32') floats[i] = value;
      else ints[i] = value;
      hash = Math.imul(hash ^ ints[i]!, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    const young = find(this.#young.get(hash), count);
    if (young) return young;
    const entry = find(this.#old.get(hash), count) ?? this.#make(count);
    const list = this.#young.get(hash);
    if (list) list.push(entry);
    else this.#young.set(hash, [entry]);
    if (++this.#count >= this.#half) this.#turn();
    return entry;
  }

  #make(count: number): Entry {
    const words = ints.slice(0, count);
    const size = uniformSize(count);
    const gpu = this.#device.createBuffer({ size, usage: uniformUsage, mappedAtCreation: true, label: 'uniforms' });
    new Uint32Array(gpu.getMappedRange()).set(words);
    gpu.unmap();
    return { gpu, id: nextId(), size, words };
  }

  /** The young are the old ones from now on. */
  #turn(): void {
    const kept = new Set([...this.#young.values()].flat());
    for (const list of this.#old.values()) for (const entry of list) if (!kept.has(entry)) this.#doomed.push(entry);
    this.#old = this.#young;
    this.#young = new Map();
    this.#count = 0;
    if (this.#doomed.length > 0) this.#flush();
  }

  /** The work encoded so far is submitted: a destroyed buffer must not be in an open encoder. */
  submitted(): void {
    for (const { gpu } of this.#doomed) gpu.destroy();
    this.#doomed.length = 0;
  }

  /** Frees all. */
  dispose(): void {
    for (const { gpu } of [...this.#young.values(), ...this.#old.values()].flat()) gpu.destroy();
    this.submitted();
  }
}

function find(list: readonly Entry[] | undefined, count: number): Entry | undefined {
  return list?.find(({ words }) => {
    if (words.length !== count) return false;
    for (let i = 0; i < count; i++) if (words[i] !== ints[i]) return false;
    return true;
  });
}

/** Bytes of the buffer of so many numbers. */
export const uniformSize = (count: number): number => Math.ceil(count / 4) * 16;

let ints = new Uint32Array(64);
let floats = new Float32Array(ints.buffer);

/** Makes room for so many words. */
function scratch(count: number): void {
  ints = new Uint32Array(count);
  floats = new Float32Array(ints.buffer);
}

const uniformUsage = 0x40; // GPUBufferUsage.UNIFORM
