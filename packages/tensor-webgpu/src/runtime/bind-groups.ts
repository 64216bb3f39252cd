import type { GpuBuffer } from './gpu-buffer.ts';
import type { Pipeline } from './pipeline-cache.ts';

const half = 2048;
const mostAlive = 16_384;

/**
 * Bind groups by their buffers: making one costs more than the rest of a dispatch, and steps that do the same bind the same buffers.
 *
 * JavaScript's collector alone frees a group, and on lavapipe each holds a memory mapping, of which a Linux process has 65,530. So only
 * those that are asked for a second time are kept, at most twice `half`, and none while too many wait for the collector.
 */
export class BindGroups {
  readonly #device: GPUDevice;
  #young = new Map<string, GPUBindGroup | undefined>();
  #old = new Map<string, GPUBindGroup | undefined>();
  #alive = 0;
  readonly #collected = new FinalizationRegistry(() => {
    this.#alive--;
  });

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The same when it is called. */
  later(pipeline: Pipeline, buffers: readonly GpuBuffer[], label: string): () => GPUBindGroup {
    return () => this.get(pipeline, buffers, label);
  }

  get(pipeline: Pipeline, buffers: readonly GpuBuffer[], label: string): GPUBindGroup {
    let key = pipeline.layoutKey;
    for (const { id } of buffers) key += `,${id}`;
    const young = this.#young.get(key);
    if (young) return young;
    const seen = this.#young.has(key) || this.#old.has(key);
    let group = this.#old.get(key);
    if (group) this.#keep(key, group);
    else {
      group = this.#make(pipeline, buffers, label);
      if (!seen) this.#keep(key, undefined);
      else if (this.#alive < mostAlive) {
        this.#alive++;
        this.#collected.register(group, undefined);
        this.#keep(key, group);
      }
    }
    return group;
  }

  #keep(key: string, group: GPUBindGroup | undefined): void {
    this.#young.set(key, group);
    if (this.#young.size < half) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  #make({ layout }: Pipeline, buffers: readonly GpuBuffer[], label: string): GPUBindGroup {
    const entries = buffers.map(({ gpu: buffer }, binding) => ({ binding, resource: { buffer } }));
    return this.#device.createBindGroup({ layout, entries, label });
  }
}
