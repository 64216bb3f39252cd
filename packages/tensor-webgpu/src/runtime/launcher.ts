import type { AdapterFacts } from '../device/open-device.ts';
import type { Program } from '../program/program.ts';
import { DispatchTimer } from '../watching/dispatch-timer.ts';
import { Recorder } from '../watching/recorder.ts';
import { BindGroups } from './bind-groups.ts';
import { BufferPool } from './buffer-pool.ts';
import { batchSize, CommandQueue } from './command-queue.ts';
import { Constants } from './constants.ts';
import { checkUniformNames } from './fitting.ts';
import type { GpuBuffer } from './gpu-buffer.ts';
import { checkBindingCount, checkWorkgroups } from './limits.ts';
import { PipelineCache } from './pipeline-cache.ts';
import { asWords, bytesOf, type TensorRecord } from './tensor-record.ts';
import { UniformCache } from './uniform-cache.ts';

/**
 * A quarter of the most that was live, but half a GiB to one: a step of SAM-B's first stage with recomputation, 2.7 GiB live, makes
 * 114 MiB of buffers anew then; 1,305 MiB with half a GiB, none with one. No more than an adapter's largest buffer: small ones have little.
 */
const spareBytes = (mostLiveBytes: number, { maxBufferSize }: GPUSupportedLimits): number =>
  Math.min(maxBufferSize, 1 << 30, Math.max(1 << 29, mostLiveBytes / 4));

/** What goes wrong later than it is asked for. */
interface Failures {
  /** What the compiler says of a pipeline. */
  refused(message: string): void;
  /** There is no room for a buffer, also after the idle ones were given back. */
  outOfMemory(message: string): void;
}

const halfOfUniforms = 2048;
const mostConstants = 1024;

/** Brings programs to the device: its pipelines, buffers, uniforms and bind groups, each made once and found again, and its queue. */
export class Launcher {
  readonly queue: CommandQueue;
  readonly recorder: Recorder;
  readonly pipelines: PipelineCache;
  readonly #pool: BufferPool;
  readonly #constants: Constants;
  readonly #uniforms: UniformCache;
  readonly #groups: BindGroups;
  readonly #timer: DispatchTimer | undefined;

  constructor(device: GPUDevice, failures: Failures) {
    const flush = () => this.queue.flush();
    const timer = device.features.has('timestamp-query') ? new DispatchTimer(device, batchSize) : undefined;
    this.#timer = timer;
    this.queue = new CommandQueue(device, {
      ...(timer && { timer }),
      afterSubmit: () => {
        this.#pool.submitted();
        this.#uniforms.submitted();
      },
    });
    this.recorder = new Recorder(this.queue, timer);
    this.pipelines = new PipelineCache(device, failures.refused);
    this.#pool = new BufferPool(device, {
      ...{ flush, refused: failures.outOfMemory },
      spareBytes: (mostLiveBytes) => spareBytes(mostLiveBytes, device.limits),
      doubt: (certain) => this.queue.holdUntil(certain),
    });
    this.#constants = new Constants(this.#pool, mostConstants);
    this.#uniforms = new UniformCache(device, { half: halfOfUniforms, flush });
    this.#groups = new BindGroups(device);
  }

  /** Bytes in tensors, and kept for reuse. */
  get memory(): { live: number; idle: number } {
    const unused = this.#constants.idleBytes;
    return { live: this.#pool.liveBytes - unused, idle: this.#pool.idleBytes + unused };
  }

  /**
   * Encodes one dispatch from inputs, which have buffers, to outputs, which get them unless they have one to be written over.
   *
   * @throws when the program's numbers do not fit its shader, or the adapter; nothing is allocated then
   */
  launch(
    program: Program,
    {
      inputs,
      outputs,
      facts,
    }: { inputs: readonly TensorRecord[]; outputs: readonly TensorRecord[]; facts: AdapterFacts },
  ): void {
    const { shader, workgroups } = program;
    const { label } = shader;
    checkWorkgroups(program);
    const uniform = this.#uniforms.get(program);
    let pipeline = this.pipelines.find(shader);
    if (!pipeline) checkBindingCount(shader, facts);
    checkUniformNames(program);
    const buffers: GpuBuffer[] = [];
    for (const { buffer } of inputs) buffers.push(buffer!);
    for (const output of outputs) {
      output.buffer ??= this.#pool.acquire(bytesOf(output), label);
      buffers.push(output.buffer);
    }
    if (workgroups[0] === 0 || workgroups[1] === 0 || workgroups[2] === 0) return;
    pipeline ??= this.pipelines.make(shader, { ahead: this.queue.held });
    const { recorder } = this;
    const bytes = recorder.active ? bytesOfAll(inputs) + bytesOfAll(outputs) : 0;
    const pieces = 1 + (program.more?.length ?? 0);
    const flops = program.flops === undefined ? undefined : program.flops / pieces;
    const bound = buffers.length;
    for (let n = 0; n < pieces; n++) {
      const piece = n === 0 ? program : { ...program, ...program.more![n - 1]! };
      const numbers = n === 0 ? uniform : this.#uniforms.get(piece);
      if (numbers) buffers[bound] = numbers;
      const cost = recorder.active
        ? recorder.cost(flops === undefined ? piece : { ...piece, flops }, bytes / pieces)
        : undefined;
      const group = this.queue.held
        ? this.#groups.later(pipeline, buffers.slice(), label)
        : this.#groups.get(pipeline, buffers, label);
      this.queue.dispatch({ pipeline, group, workgroups: piece.workgroups, flops: flops ?? 0, cost });
    }
  }

  /** Puts a tensor's values into a buffer of its own, or into that of an equal scalar. */
  upload(record: TensorRecord, label: string): void {
    const words = asWords(record.values!, record.dtype);
    record.buffer = (record.elements === 1 ? this.#constants : this.#pool).acquireWith(words, label);
  }

  /** Frees all buffers of a device that stays open. */
  dispose(): void {
    this.queue.drop();
    this.#pool.dispose();
    this.#uniforms.dispose();
    this.#timer?.dispose();
  }

  /** Takes a tensor's buffer back. */
  release(buffer: GpuBuffer): void {
    if (!this.#constants.release(buffer)) this.#pool.release(buffer);
  }
}

const bytesOfAll = (records: readonly TensorRecord[]): number =>
  records.reduce((sum, record) => sum + bytesOf(record), 0);
