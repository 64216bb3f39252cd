import * as tf from '@tensorflow/tfjs-core';
import { type AdapterFacts, openDevice } from './device.ts';
import type { Program } from './program.ts';
import { BufferPool } from './runtime/buffer-pool.ts';
import { CommandQueue } from './runtime/command-queue.ts';
import { type Pipeline, PipelineCache } from './runtime/pipeline-cache.ts';
import { awaitGpu } from './runtime/wait.ts';

/** Where a tensor's values are: on the CPU until a kernel needs them, then in a buffer. */
interface Stored {
  readonly dtype: tf.DataType;
  readonly elements: number;
  refCount: number;
  values?: tf.backend_util.TypedArray | undefined;
  buffer?: GPUBuffer | undefined;
  /** A constant's buffer is shared by equal scalars and never released. */
  shared?: boolean;
}

const idleCapBytes = 1 << 30;
const cacheCap = 4096;

/** A TensorFlow.js backend that computes in WGSL. Make one with `createWebgpuBackend` or `useWebgpu`. */
export class WebgpuBackend extends tf.KernelBackend {
  readonly facts: AdapterFacts;
  readonly device: GPUDevice;
  readonly #keepAlive: unknown;
  readonly #pool: BufferPool;
  readonly #pipelines: PipelineCache;
  readonly #queue: CommandQueue;
  readonly #stored = new Map<tf.DataId, Stored>();
  readonly #uniforms = new Map<string, GPUBuffer>();
  readonly #constants = new Map<string, GPUBuffer>();
  #failure: Error | undefined;
  #disposed = false;

  constructor(opened: { device: GPUDevice; facts: AdapterFacts; keepAlive: unknown }) {
    super();
    this.device = opened.device;
    this.facts = opened.facts;
    this.#keepAlive = opened.keepAlive;
    this.#pool = new BufferPool(this.device, idleCapBytes);
    this.#pipelines = new PipelineCache(this.device);
    this.#queue = new CommandQueue(this.device);
    this.device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      this.#failure ??= new Error(`webgpu: ${(event as GPUUncapturedErrorEvent).error.message}`);
    });
    void this.device.lost.then((info) => {
      if (!this.#disposed) {
        this.#failure = new Error(
          `webgpu: the device was lost (${info.reason}: ${info.message}); create the backend again`,
        );
      }
    });
  }

  /**
   * Allocates the outputs and encodes one dispatch (submitted with others, at the latest when something is read).
   *
   * @throws when a binding is larger than the adapter allows
   */
  run(
    program: Program,
    inputs: readonly tf.TensorInfo[],
    outputs: readonly { readonly shape: readonly number[]; readonly dtype: tf.DataType }[],
  ): tf.TensorInfo[] {
    this.#check(program.label);
    const buffers = inputs.map((input) => this.#bufferOf(input, program.label));
    const made = outputs.map(({ shape, dtype }) => {
      const stored: Stored = { dtype, elements: tf.util.sizeFromShape([...shape]), refCount: 1 };
      this.#checkBinding(stored.elements * 4, program.label, shape);
      stored.buffer = this.#pool.acquire(stored.elements * 4);
      const dataId = {};
      this.#stored.set(dataId, stored);
      buffers.push(stored.buffer);
      return { dataId, shape: [...shape], dtype };
    });
    if (program.workgroups.includes(0)) return made;
    const pipeline = this.#pipelines.get(program, inputs.length, outputs.length);
    if (program.uniforms) buffers.push(this.#uniform(program.uniforms));
    this.#queue.dispatch(pipeline, this.#group(pipeline, buffers), program.workgroups);
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
    const typed = values as tf.backend_util.TypedArray;
    this.#stored.set(dataId, { dtype, elements: tf.util.sizeFromShape(shape), refCount, values: typed });
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
      this.#submit();
      await awaitGpu(staging.mapAsync(mapModeRead));
      this.#check('read');
      return typedArray(staging.getMappedRange().slice(0), stored.dtype);
    } catch (error) {
      throw this.#failure ?? error;
    } finally {
      staging.destroy();
    }
  }

  override readSync(): never {
    throw new Error('webgpu: expected an asynchronous read, got dataSync() or arraySync(); use `await tensor.data()`');
  }

  /** Waits until all work so far is done. */
  async sync(): Promise<void> {
    this.#submit();
    await awaitGpu(this.device.queue.onSubmittedWorkDone());
    this.#check('sync');
  }

  override disposeData(dataId: tf.DataId, force = false): boolean {
    const stored = this.#stored.get(dataId);
    if (!stored) return true;
    stored.refCount--;
    if (!force && stored.refCount > 0) return false;
    if (stored.buffer && !stored.shared) this.#pool.release(stored.buffer);
    this.#stored.delete(dataId);
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
    return { unreliable: false, numBytesInGPU: this.#pool.liveBytes, numBytesIdle: this.#pool.idleBytes };
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

  /** Frees everything and lets go of the adapter; the process can then end by itself. */
  override dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#pool.destroy();
    this.device.destroy();
  }

  #get(dataId: tf.DataId): Stored {
    const stored = this.#stored.get(dataId);
    if (!stored)
      throw new Error('webgpu: expected a live tensor, got one that was disposed or belongs to another backend');
    return stored;
  }

  #check(label: string): void {
    if (this.#disposed) throw new Error(`${label}: expected a live backend, got one that was disposed`);
    if (this.#failure) throw this.#failure;
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
    const values = stored.values!;
    this.#checkBinding(stored.elements * 4, label, input.shape);
    const words = asWords(values, stored.dtype);
    if (stored.elements === 1) {
      stored.buffer = this.#constant(words);
      stored.shared = true;
    } else {
      stored.buffer = this.#pool.acquireWith(words);
    }
    if (stored.elements > keptElements) stored.values = undefined;
    return stored.buffer;
  }

  /** Scalars repeat from step to step: equal ones share a buffer, which nothing ever writes. */
  #constant(words: Float32Array | Int32Array): GPUBuffer {
    const key = `${new Uint32Array(words.buffer, words.byteOffset, 1)[0]}`;
    const known = this.#constants.get(key);
    if (known) return known;
    const buffer = this.#pool.acquireWith(words);
    this.#constants.set(key, buffer);
    return buffer;
  }

  #uniform(words: Uint32Array<ArrayBuffer>): GPUBuffer {
    const key = words.join();
    const known = this.#uniforms.get(key);
    if (known) return known;
    if (this.#uniforms.size >= cacheCap) {
      this.#submit();
      for (const old of this.#uniforms.values()) old.destroy();
      this.#uniforms.clear();
    }
    const size = Math.ceil(words.byteLength / 16) * 16;
    const buffer = this.device.createBuffer({ size, usage: uniformUsage, mappedAtCreation: true, label: 'uniforms' });
    new Uint32Array(buffer.getMappedRange()).set(words);
    buffer.unmap();
    this.#uniforms.set(key, buffer);
    return buffer;
  }

  /**
   * Bind groups are made anew (22 us): kept ones would be freed only when JavaScript's collector comes round to it, and on lavapipe
   * each holds a memory mapping, of which a Linux process has 65,530.
   */
  #group(pipeline: Pipeline, buffers: readonly GPUBuffer[]): GPUBindGroup {
    return this.device.createBindGroup({
      layout: pipeline.layout,
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
  }

  #submit(): void {
    this.#queue.flush();
    this.#pool.trim();
  }
}

const keptElements = 64; // tensors this small keep their CPU values beside the buffer
const mapRead = 0x1; // GPUBufferUsage.MAP_READ
const copyDst = 0x8; // GPUBufferUsage.COPY_DST
const uniformUsage = 0x40; // GPUBufferUsage.UNIFORM
const mapModeRead = 0x1; // GPUMapMode.READ

function asWords(values: tf.backend_util.TypedArray, dtype: tf.DataType): Float32Array | Int32Array {
  if (dtype === 'float32') return values instanceof Float32Array ? values : Float32Array.from(values);
  return values instanceof Int32Array ? values : Int32Array.from(values);
}

function typedArray(bytes: ArrayBuffer, dtype: tf.DataType): tf.backend_util.TypedArray {
  if (dtype === 'float32') return new Float32Array(bytes);
  if (dtype === 'int32') return new Int32Array(bytes);
  return Uint8Array.from(new Int32Array(bytes));
}
