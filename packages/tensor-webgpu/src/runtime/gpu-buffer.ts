/** A buffer with what is asked of it at every dispatch: WebGPU's own properties cost a call out of JavaScript each. */
export interface GpuBuffer {
  readonly gpu: GPUBuffer;
  /** Unique among all buffers: bind groups are known by them. */
  readonly id: number;
  /** Bytes. */
  readonly size: number;
}

/** A new id. */
export const nextId = (): number => ++last;

let last = 0;
