import { mostFlops } from '../program/pieces.ts';
import type { Cost, DispatchTimer } from '../watching/dispatch-timer.ts';
import type { GpuBuffer } from './gpu-buffer.ts';
import type { Pipeline } from './pipeline-cache.ts';
import { awaitGpu } from './wait.ts';

/** One dispatch; `cost` says that it is to be timed. */
export interface Dispatch {
  readonly pipeline: Pipeline;
  /** Made when it is encoded where the queue is held: a buffer may be another one by then. */
  readonly group: GPUBindGroup | (() => GPUBindGroup);
  readonly workgroups: readonly [number, number, number];
  readonly flops: number;
  readonly cost: Cost | undefined;
}

interface Copy {
  readonly from: GpuBuffer;
  readonly to: GPUBuffer;
  readonly bytes: number;
}

/** The most dispatches between two submits, which are also made when the work adds up to `mostFlops`. A submit costs 31 us on Dawn, a dispatch 25 to 30. */
export const batchSize = 64;

/**
 * Gathers dispatches into one compute pass and submits them together.
 *
 * While it is held, it only keeps a list, which `drain` runs in the same order: pipelines can be compiled meanwhile (a warm-up), and
 * each dispatch can be awaited (the CPU clock of a profile), or it becomes certain whether there is room for a buffer.
 */
export class CommandQueue {
  readonly #device: GPUDevice;
  readonly #timer: DispatchTimer | undefined;
  readonly #afterSubmit: () => void;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  /** The pass' pipeline. */
  #set: GPUComputePipeline | undefined;
  #pending = 0;
  #pendingFlops = 0;
  #held: (Dispatch | Copy)[] | undefined;
  #holders = 0;
  readonly #doubts = new Set<Promise<void>>();
  #draining: Promise<void> | undefined;

  /** `afterSubmit` is called when all that was asked for is submitted; `timer` where the device has timestamps. */
  constructor(device: GPUDevice, { timer, afterSubmit }: { timer?: DispatchTimer; afterSubmit: () => void }) {
    this.#device = device;
    this.#timer = timer;
    this.#afterSubmit = afterSubmit;
  }

  get held(): boolean {
    return this.#held !== undefined;
  }

  dispatch(dispatch: Dispatch): void {
    if (this.#held) this.#held.push(dispatch);
    else this.#encode(dispatch);
  }

  copy(from: GpuBuffer, to: GPUBuffer, bytes: number): void {
    if (this.#held) this.#held.push({ from, to, bytes });
    else this.#encodeCopy({ from, to, bytes });
  }

  /** Submits what was gathered; while it is held, nothing. */
  flush(): void {
    if (!this.#held) this.#submit();
  }

  /** Forgets what was gathered and is not submitted. */
  drop(): void {
    this.#endPass();
    this.#encoder = undefined;
    this.#pending = 0;
    this.#pendingFlops = 0;
    if (this.#held) this.#held.length = 0;
  }

  /** Keeps what comes from now on for `drain`. Each call needs its `release`. */
  hold(): void {
    this.#submit();
    this.#held ??= [];
    this.#holders++;
  }

  /** Keeps what comes from now on until `certain`, which never rejects, is resolved; `drain` waits for it too. */
  holdUntil(certain: Promise<void>): void {
    this.hold();
    this.#doubts.add(certain);
    void certain.then(() => {
      this.#doubts.delete(certain);
      this.release().catch(() => undefined); // why a drain failed is told to those who read
    });
  }

  /** Runs what is kept; after the last holder's release the queue is as before. */
  async release(): Promise<void> {
    try {
      do await this.drain();
      while (this.#holders === 1 && this.#held?.length); // what came while the last ones were awaited
    } finally {
      if (--this.#holders === 0) this.#held = undefined;
    }
  }

  /** Runs what is kept so far, one after another; calls at the same time share the work. */
  drain(): Promise<void> {
    if (!this.#held) return Promise.resolve();
    this.#draining ??= this.#run(this.#held);
    return this.#draining;
  }

  async #run(held: (Dispatch | Copy)[]): Promise<void> {
    try {
      await Promise.resolve(); // so that #draining is set before it is cleared
      for (;;) {
        while (this.#doubts.size > 0) await Promise.all(this.#doubts);
        const [next] = held; // it counts as kept until it is encoded
        if (!next) break;
        if (!('pipeline' in next)) this.#encodeCopy(next);
        else {
          await next.pipeline.ready;
          if (next.cost?.clock === 'cpu') await this.#timed(next, next.cost);
          else this.#encode(next);
        }
        if (held[0] === next) held.shift(); // else it was dropped meanwhile
      }
      this.#submit();
    } finally {
      held.length = 0; // after an error the results are lost
      this.#draining = undefined;
    }
  }

  async #timed(dispatch: Dispatch, cost: Cost): Promise<void> {
    if (this.#pending > 0 || cost.first) await this.#submitted();
    const start = performance.now();
    this.#encode(dispatch);
    await this.#submitted();
    cost.finish(start, performance.now());
  }

  #submitted(): Promise<undefined> {
    this.#submit();
    return awaitGpu(this.#device.queue.onSubmittedWorkDone());
  }

  #encode({ pipeline, group, workgroups, flops, cost }: Dispatch): void {
    if (!pipeline.pipeline) return; // it did not compile, which the next read tells
    const timestampWrites = cost?.clock === 'timestamp-query' ? this.#timer?.writes(cost) : undefined;
    if (timestampWrites) this.#endPass();
    this.#encoder ??= this.#device.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass(timestampWrites && { timestampWrites });
    if (pipeline.pipeline !== this.#set) this.#pass.setPipeline(pipeline.pipeline);
    this.#set = pipeline.pipeline;
    this.#pass.setBindGroup(0, typeof group === 'function' ? group() : group);
    this.#pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2]);
    if (timestampWrites) this.#endPass();
    this.#pendingFlops += flops;
    if (++this.#pending >= batchSize || this.#pendingFlops >= mostFlops) this.#submit();
  }

  #encodeCopy({ from, to, bytes }: Copy): void {
    this.#endPass();
    this.#encoder ??= this.#device.createCommandEncoder();
    this.#encoder.copyBufferToBuffer(from.gpu, 0, to, 0, bytes);
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
    this.#set = undefined;
  }

  #submit(): void {
    if (this.#encoder) {
      this.#endPass();
      const times = this.#timer?.resolve(this.#encoder);
      this.#device.queue.submit([this.#encoder.finish()]);
      times?.();
      this.#encoder = undefined;
      this.#pending = 0;
      this.#pendingFlops = 0;
    }
    if (!this.#held?.length) this.#afterSubmit(); // what is still kept may use buffers that are to go
  }
}
