import type { Pipeline } from './pipeline-cache.ts';

const batchSize = 64; // dispatches a submit: a submit costs 31 us on Dawn, a dispatch 25 to 30

/** Gathers dispatches into one compute pass and submits them together. */
export class CommandQueue {
  readonly #device: GPUDevice;
  readonly #afterSubmit: () => void;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #pending = 0;

  constructor(device: GPUDevice, afterSubmit: () => void) {
    this.#device = device;
    this.#afterSubmit = afterSubmit;
  }

  dispatch(pipeline: Pipeline, group: GPUBindGroup, workgroups: readonly [number, number, number]): void {
    this.#encoder ??= this.#device.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass();
    this.#pass.setPipeline(pipeline.pipeline);
    this.#pass.setBindGroup(0, group);
    this.#pass.dispatchWorkgroups(...workgroups);
    if (++this.#pending >= batchSize) this.flush();
  }

  copy(from: GPUBuffer, to: GPUBuffer, bytes: number): void {
    this.#pass?.end();
    this.#pass = undefined;
    this.#encoder ??= this.#device.createCommandEncoder();
    this.#encoder.copyBufferToBuffer(from, 0, to, 0, bytes);
  }

  /** Submits what was gathered. */
  flush(): void {
    if (this.#encoder) {
      this.#pass?.end();
      this.#device.queue.submit([this.#encoder.finish()]);
      this.#encoder = undefined;
      this.#pass = undefined;
      this.#pending = 0;
    }
    this.#afterSubmit();
  }
}
