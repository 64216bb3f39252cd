import * as tf from '@tensorflow/tfjs-core';
import type { AdapterFacts } from './device.ts';
import type { Program } from './program.ts';
import { BufferPool } from './runtime/buffer-pool.ts';
import { CommandQueue } from './runtime/command-queue.ts';
import { Constants } from './runtime/constants.ts';
import { type Pipeline, PipelineCache } from './runtime/pipeline-cache.ts';
import { UniformCache } from './runtime/uniform-cache.ts';
import { awaitGpu } from './runtime/wait.ts';

/** Where a tensor's values are: on the CPU until a kernel needs them, then in a buffer. */
interface Stored {
  readonly dtype: tf.DataType;
  readonly elements: number;
  refCount: number;
  values?: tf.backend_util.TypedArray | undefined;
  buffer?: GPUBuffer | undefined;
}

const spareBytes = 1 << 30;
const mostUniforms = 4096;
const mostConstants = 1024;
const mostWorkgroups = 65535; // a dimension, on every adapter

/** A TensorFlow.js backend that computes in WGSL. Make one with `createWebgpuBackend` or `useWebgpu`. */
export class WebgpuBackend extends tf.KernelBackend {
  readonly facts: AdapterFacts;
  readonly device: GPUDevice;
  readonly #keepAlive: unknown;
  readonly #pool: BufferPool;
  readonly #pipelines: PipelineCache;
  readonly #queue: CommandQueue;
  readonly #stored = new Map<tf.DataId, Stored>();
  readonly #uniforms: UniformCache;
  readonly #constants: Constants;
  #failure: Error | undefined;
  #disposed = false;

  constructor(opened: { device: GPUDevice; facts: AdapterFacts; keepAlive: unknown }) {
    super();
    this.device = opened.device;
    this.facts = opened.facts;
    this.#keepAlive = opened.keepAlive;
    const flush = () => this.#queue.flush();
    this.#queue = new CommandQueue(this.device, () => this.#pool.submitted());
    this.#pool = new BufferPool(this.device, { spareBytes, flush });
    this.#constants = new Constants(this.#pool, mostConstants);
    this.#uniforms = new UniformCache(this.device, { most: mostUniforms, flush });
    this.#pipelines = new PipelineCache(this.device, (message) => {
      this.#failure = failure(message); // the cause of what else went wrong
    });
    this.device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      const kind = error.constructor.name === 'GPUOutOfMemoryError' ? 'out of memory: ' : '';
      this.#failure ??= failure(`webgpu: ${kind}${error.message}`);
    });
    void this.device.lost.then(({ reason, message }) => {
      this.#failure ??= failure(`webgpu: the device was lost (${reason}: ${message})`);
    });
  }

  /**
   * Allocates the outputs and encodes one dispatch (submitted with others, at the latest when something is read).
   *
   * @throws when the adapter does not allow so many or so large bindings, or so many workgroups
   */
  run(
    program: Program,
    inputs: readonly tf.TensorInfo[],
    outputs: readonly { readonly shape: readonly number[]; readonly dtype: tf.DataType }[],
  ): tf.TensorInfo[] {
    const { label, workgroups } = program;
    this.#check(label);
    this.#checkLimits(program, inputs.length + outputs.length);
    const sizes = outputs.map(({ shape }) => tf.util.sizeFromShape([...shape]));
    sizes.forEach((size, i) => {
      this.#checkBinding(size * 4, label, outputs[i]!.shape);
    });
    const buffers = inputs.map((input) => this.#bufferOf(input, label));
    const made = outputs.map(({ shape, dtype }, i) => {
      const buffer = this.#pool.acquire(sizes[i]! * 4, label);
      buffers.push(buffer);
      const dataId = {};
      this.#stored.set(dataId, { dtype, elements: sizes[i]!, refCount: 1, buffer });
      return { dataId, shape: [...shape], dtype };
    });
    if (workgroups.includes(0)) return made;
    const pipeline = this.#pipelines.get(program, inputs.length, outputs.length);
    if (program.uniforms) buffers.push(this.#uniforms.get(program.uniforms));
    this.#queue.dispatch(pipeline, this.#group(pipeline, buffers, label), workgroups);
    return made;
  }

  /** The same values under another shape: no copy, one more reference. */
  makeView(input: tf.TensorInfo, shape: readonly number[]): tf.TensorInfo {
    this.incRef(input.dataId);
    return { dataId: input.dataId, shape: [...shape], dtype: input.dtype };
  }

  /** A tensor from CPU values; it is uploaded when a kernel first needs it. */
  makeTensor(values: tf.backend_util.TypedArray, shape: readonly number[], dtype: tf.DataType): tf.TensorInfo {
    return { dataId: this.write(values, [...shape], dtype), shape: [...shape], dtype };
  }

  /** The values when they are still known on the CPU (constants, freshly made tensors), else undefined. */
  cpuValues(input: tf.TensorInfo): tf.backend_util.TypedArray | undefined {
    return this.#stored.get(input.dataId)?.values;
  }

  override write(values: tf.backend_util.BackendValues, _shape: number[], dtype: tf.DataType): tf.DataId {
    const dataId = {};
    this.move(dataId, values, _shape, dtype, 1);
    return dataId;
  }

  /**
   * Takes values from the CPU. Up to 64 are copied; more are kept by reference, as TensorFlow.js's other backends do, and uploaded by
   * the first kernel that needs them: until then the caller must not change them.
   */
  override move(
    dataId: tf.DataId,
    values: tf.backend_util.BackendValues,
    shape: number[],
    dtype: tf.DataType,
    refCount: number,
  ): void {
    if (dtype === 'string' || dtype === 'complex64') {
      throw new Error(`webgpu: expected a float32, int32 or bool tensor, got ${dtype}; this backend does not hold it`);
    }
    const elements = tf.util.sizeFromShape(shape);
    const typed = values as tf.backend_util.TypedArray;
    this.#stored.set(dataId, { dtype, elements, refCount, values: elements <= keptElements ? typed.slice() : typed });
  }

  override async read(dataId: tf.DataId): Promise<tf.backend_util.TypedArray> {
    const stored = this.#get(dataId);
    if (stored.values) return stored.values.slice();
    if (stored.elements === 0) return typedArray(new ArrayBuffer(0), stored.dtype);
    this.#check('read');
    const bytes = stored.elements * 4;
    const staging = this.device.createBuffer({ size: bytes, usage: mapRead | copyDst, label: 'read back' });
    try {
      this.#queue.copy(stored.buffer!, staging, bytes);
      this.#queue.flush();
      await this.#finished('read', staging.mapAsync(mapModeRead));
      return typedArray(staging.getMappedRange().slice(0), stored.dtype);
    } finally {
      staging.destroy();
    }
  }

  override readSync(): never {
    this.#check('read');
    throw new Error('webgpu: expected an asynchronous read, got dataSync() or arraySync(); use `await tensor.data()`');
  }

  /** Waits until all work so far is done. */
  async sync(): Promise<void> {
    this.#check('sync');
    this.#queue.flush();
    await this.#finished('sync', this.device.queue.onSubmittedWorkDone());
  }

  override disposeData(dataId: tf.DataId, force = false): boolean {
    const stored = this.#stored.get(dataId);
    if (!stored) return true;
    stored.refCount--;
    if (!force && stored.refCount > 0) return false;
    this.#stored.delete(dataId);
    if (stored.buffer && !this.#constants.release(stored.buffer)) this.#pool.release(stored.buffer);
    return true;
  }

  override refCount(dataId: tf.DataId): number {
    return this.#stored.get(dataId)?.refCount ?? 0;
  }

  override incRef(dataId: tf.DataId): void {
    this.#get(dataId).refCount++;
  }

  override numDataIds(): number {
    return this.#stored.size;
  }

  override memory(): { unreliable: boolean; numBytesInGPU: number; numBytesIdle: number } {
    const unused = this.#constants.idleBytes;
    return {
      unreliable: false,
      numBytesInGPU: this.#pool.liveBytes - unused,
      numBytesIdle: this.#pool.idleBytes + unused,
    };
  }

  override floatPrecision(): 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override async time(work: () => void): Promise<tf.BackendTimingInfo> {
    await this.sync();
    const start = performance.now();
    work();
    await this.sync();
    return { kernelMs: performance.now() - start };
  }

  /**
   * Frees everything, removes the backend from TensorFlow.js and lets go of the adapter; the process can then end by itself.
   * Tensors that are left can be disposed, not used. A second call does nothing.
   */
  override dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    const name = Object.entries(tf.engine().registry).find(([, backend]) => backend === this)?.[0];
    if (name !== undefined) tf.removeBackend(name);
    this.device.destroy(); // with all its buffers
    this.#stored.clear();
  }

  #get(dataId: tf.DataId): Stored {
    const stored = this.#stored.get(dataId);
    if (stored) return stored;
    this.#check('webgpu');
    throw new Error('webgpu: expected a live tensor, got one that was disposed or belongs to another backend');
  }

  #check(label: string): void {
    if (this.#disposed) throw new Error(`${label}: expected a live backend, got one that was disposed`);
    if (this.#failure) throw this.#failure;
  }

  /** Waits for `work` and for the news of what failed before it. */
  async #finished(label: string, work: Promise<undefined>): Promise<void> {
    try {
      await awaitGpu(work);
    } catch (error) {
      this.#check(label);
      throw error;
    }
    await this.#pipelines.checked();
    this.#check(label);
  }

  #checkLimits({ label, workgroups }: Program, bindings: number): void {
    const mostBindings = this.device.limits.maxStorageBuffersPerShaderStage;
    if (bindings > mostBindings)
      throw new Error(
        `${label}: expected at most ${mostBindings} inputs and outputs on ${this.facts.name}, got ${bindings}; use two kernels`,
      );
    if (workgroups.some((count) => count > mostWorkgroups))
      throw new Error(
        `${label}: expected at most ${mostWorkgroups} workgroups a dimension, got [${workgroups}]; fold them into two`,
      );
  }

  #checkBinding(bytes: number, label: string, shape: readonly number[]): void {
    if (bytes <= this.facts.maxBindingBytes) return;
    throw new Error(
      `${label}: expected tensors of at most ${this.facts.maxBindingBytes} bytes on ${this.facts.name}, got [${shape}] of ${bytes} bytes; ` +
        'use smaller batches or images',
    );
  }

  #bufferOf(input: tf.TensorInfo, label: string): GPUBuffer {
    const stored = this.#get(input.dataId);
    if (stored.buffer) return stored.buffer;
    this.#checkBinding(stored.elements * 4, label, input.shape);
    const words = asWords(stored.values!, stored.dtype);
    const from = stored.elements === 1 ? this.#constants : this.#pool;
    stored.buffer = from.acquireWith(words, label);
    if (stored.elements > keptElements) stored.values = undefined;
    return stored.buffer;
  }

  /**
   * Bind groups are made anew (22 us): kept ones would be freed only when JavaScript's collector comes round to it, and on lavapipe
   * each holds a memory mapping, of which a Linux process has 65,530.
   */
  #group(pipeline: Pipeline, buffers: readonly GPUBuffer[], label: string): GPUBindGroup {
    return this.device.createBindGroup({
      layout: pipeline.layout,
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
      label,
    });
  }
}

const keptElements = 64; // tensors this small keep their CPU values beside the buffer
const mapRead = 0x1; // GPUBufferUsage.MAP_READ
const copyDst = 0x8; // GPUBufferUsage.COPY_DST
const mapModeRead = 0x1; // GPUMapMode.READ

const failure = (message: string): Error =>
  new Error(`${message.trim().replace(/\.$/, '')}; results since then are lost, create the backend again`);

function asWords(values: tf.backend_util.TypedArray, dtype: tf.DataType): Float32Array | Int32Array {
  if (dtype === 'float32') return values instanceof Float32Array ? values : Float32Array.from(values);
  return values instanceof Int32Array ? values : Int32Array.from(values);
}

function typedArray(bytes: ArrayBuffer, dtype: tf.DataType): tf.backend_util.TypedArray {
  if (dtype === 'float32') return new Float32Array(bytes);
  if (dtype === 'int32') return new Int32Array(bytes);
  return Uint8Array.from(new Int32Array(bytes));
}
