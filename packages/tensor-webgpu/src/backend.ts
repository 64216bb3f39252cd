import * as tf from '@tensorflow/tfjs-core';
import type { AdapterFacts } from './device/open-device.ts';
import { fromHalf } from './program/half.wgsl.ts';
import type { Program } from './program/program.ts';
import { uniformWords } from './program/uniform-words.ts';
import { BufferPool } from './runtime/buffer-pool.ts';
import { batchSize, CommandQueue } from './runtime/command-queue.ts';
import { Constants } from './runtime/constants.ts';
import { checkBinding, checkLimits } from './runtime/limits.ts';
import { type Pipeline, PipelineCache } from './runtime/pipeline-cache.ts';
import { asWords, bytesOf, type ComplexParts, type TensorRecord, typedArray } from './runtime/tensor-record.ts';
import { UniformCache } from './runtime/uniform-cache.ts';
import { awaitGpu } from './runtime/wait.ts';
import { type Clock, DispatchTimer } from './watching/dispatch-timer.ts';
import { type Leak, Origins } from './watching/origins.ts';
import { type DispatchTime, Recorder } from './watching/recorder.ts';

/** What a kernel is to make. */
interface Output {
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
}

const spareBytes = 1 << 30;
const mostUniforms = 1024;
const mostConstants = 1024;

/** A TensorFlow.js backend that computes in WGSL. Make one with `createWebgpuBackend` or `useWebgpu`. */
export class WebgpuBackend extends tf.KernelBackend {
  readonly facts: AdapterFacts;
  readonly device: GPUDevice;
  readonly #keepAlive: unknown;
  readonly #pool: BufferPool;
  readonly #pipelines: PipelineCache;
  readonly #queue: CommandQueue;
  readonly #stored = new Map<tf.DataId, TensorRecord>();
  readonly #uniforms: UniformCache;
  readonly #constants: Constants;
  readonly #recorder: Recorder;
  readonly #origins = new Origins();
  #failure: Error | undefined;
  #disposed = false;

  constructor(opened: { device: GPUDevice; facts: AdapterFacts; keepAlive: unknown }) {
    super();
    this.device = opened.device;
    this.facts = opened.facts;
    this.#keepAlive = opened.keepAlive;
    const flush = () => this.#queue.flush();
    const timer = this.device.features.has('timestamp-query') ? new DispatchTimer(this.device, batchSize) : undefined;
    this.#queue = new CommandQueue(this.device, {
      ...(timer && { timer }),
      afterSubmit: () => {
        this.#pool.submitted();
        this.#uniforms.submitted();
      },
    });
    this.#recorder = new Recorder(this.#queue, timer);
    this.#pool = new BufferPool(this.device, { spareBytes, flush });
    this.#constants = new Constants(this.#pool, mostConstants);
    this.#uniforms = new UniformCache(this.device, { most: mostUniforms, flush });
    this.#pipelines = new PipelineCache(this.device, (message) => {
      this.#failure = failure(message); // the cause of what else went wrong
    });
    this.device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      const { liveBytes, idleBytes } = this.#pool;
      const kind =
        error.constructor.name === 'GPUOutOfMemoryError'
          ? `out of memory with ${liveBytes} bytes in tensors and ${idleBytes} kept for reuse, use smaller batches or images: `
          : '';
      this.#failure ??= failure(`webgpu: ${kind}${error.message}`);
    });
    void this.device.lost.then(({ reason, message }) => {
      this.#failure ??= failure(`webgpu: the device was lost (${reason}: ${message})`);
    });
  }

  /**
   * Allocates the outputs and encodes one dispatch (submitted with others, at the latest when something is read). Inputs in half
   * precision that the program does not take so are expanded for it.
   *
   * @throws when the adapter does not allow so many or so large bindings, or so many workgroups
   */
  run(program: Program, inputs: readonly tf.TensorInfo[], outputs: readonly Output[]): tf.TensorInfo[] {
    const copies: tf.TensorInfo[] = [];
    const taken = (x: tf.TensorInfo, i: number): tf.TensorInfo => {
      if (program.shader.inputs[i]?.half || !this.isHalf(x)) return x;
      const copy = this.#expanded(x);
      copies.push(copy);
      return copy;
    };
    try {
      return this.#run(program, inputs.map(taken), outputs);
    } finally {
      for (const { dataId } of copies) this.disposeData(dataId);
    }
  }

  #run(program: Program, inputs: readonly tf.TensorInfo[], outputs: readonly Output[]): tf.TensorInfo[] {
    const { shader, workgroups } = program;
    const { label } = shader;
    this.#check(label);
    checkLimits(program, this);
    this.#checkBindings(program, inputs, outputs);
    const words = uniformWords(program);
    const sizes = outputs.map(({ shape }, i) => {
      const size = { elements: tf.util.sizeFromShape([...shape]), half: shader.outputs[i]!.half };
      checkBinding(bytesOf(size), label, shape, this.facts);
      return size;
    });
    const buffers = inputs.map((input) => this.#bufferOf(input, label));
    const made = outputs.map(({ shape, dtype }, i) => {
      const buffer = this.#pool.acquire(bytesOf(sizes[i]!), label);
      buffers.push(buffer);
      const dataId = {};
      const origin = this.#origins.of(label, shape);
      this.#stored.set(dataId, { dtype, ...sizes[i]!, refCount: 1, buffer, origin });
      return { dataId, shape: [...shape], dtype };
    });
    if (workgroups.includes(0)) return made;
    const ahead = this.#queue.held;
    const pipeline = this.#pipelines.get(shader, { ahead });
    const cost = this.#recorder.active ? this.#recorder.cost(program, this.#bytesOf([...inputs, ...made])) : undefined;
    if (words.length > 0) buffers.push(this.#uniforms.get(words));
    this.#queue.dispatch({ pipeline, group: this.#group(pipeline, buffers, label), workgroups, cost });
    return made;
  }

  /** @throws when the tensors are not as many, or not of the dtypes, that the shader declares */
  #checkBindings({ shader }: Program, inputs: readonly tf.TensorInfo[], outputs: readonly Output[]): void {
    const { label } = shader;
    for (const [side, tensors] of [
      ['inputs', inputs],
      ['outputs', outputs],
    ] as const) {
      const bindings = shader[side];
      if (tensors.length !== bindings.length)
        throw new Error(
          `${label}: expected ${bindings.length} ${side} (${bindings.map(({ name }) => name).join(', ')}), got ${tensors.length}`,
        );
      bindings.forEach(({ name, type, float }, i) => {
        const { dtype, shape } = tensors[i]!;
        if (float !== (dtype === 'float32'))
          throw new Error(`${label}: expected '${name}' of ${type}, got ${dtype} [${shape}]; cast it with tf.cast`);
      });
    }
    const wrong = shader.inputs.findIndex(({ half }, i) => half && !this.isHalf(inputs[i]!));
    if (wrong >= 0)
      throw new Error(
        `${label}: expected '${shader.inputs[wrong]!.name}' in half precision, got ${inputs[wrong]!.dtype}; use half(x)`,
      );
  }

  /** Whether the values are stored in half precision. */
  isHalf({ dataId }: tf.TensorInfo): boolean {
    return this.#stored.get(dataId)?.half ?? false;
  }

  #expanded(x: tf.TensorInfo): tf.TensorInfo {
    return this.#run(fromHalf(this.#get(x.dataId).elements), [x], [x])[0]!;
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

  /** A string tensor of UTF-8 texts. */
  makeTexts(texts: readonly Uint8Array[], shape: readonly number[]): tf.TensorInfo {
    return { dataId: this.write([...texts], [...shape], 'string'), shape: [...shape], dtype: 'string' };
  }

  /** The texts of a string tensor. */
  texts(input: tf.TensorInfo): readonly Uint8Array[] {
    return this.#get(input.dataId).texts!;
  }

  /** A complex64 tensor; its parts belong to it from now on. */
  makeComplex(parts: ComplexParts): tf.TensorInfo {
    const dataId = {};
    const { shape } = parts.real;
    this.#stored.set(dataId, { dtype: 'complex64', elements: tf.util.sizeFromShape(shape), refCount: 1, parts });
    return { dataId, shape, dtype: 'complex64' };
  }

  /** The parts of a complex64 tensor, in its shape. They still belong to it. */
  complexParts({ dataId, shape }: tf.TensorInfo): ComplexParts {
    const { real, imag } = this.#get(dataId).parts!;
    return { real: { ...real, shape }, imag: { ...imag, shape } };
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
    if (dtype === 'complex64')
      throw new Error('webgpu: expected real values, got complex64; use tf.complex(real, imag)');
    const elements = tf.util.sizeFromShape(shape);
    if (dtype === 'string') {
      this.#stored.set(dataId, { dtype, elements, refCount, texts: values as Uint8Array[] });
      return;
    }
    const typed = values as tf.backend_util.TypedArray;
    const kept = elements <= keptElements ? typed.slice() : typed;
    this.#stored.set(dataId, { dtype, elements, refCount, values: kept, origin: this.#origins.of('values', shape) });
  }

  override async read(dataId: tf.DataId): Promise<tf.backend_util.BackendValues> {
    const stored = this.#get(dataId);
    if (stored.texts) return stored.texts.slice(); // holes stay holes, as TensorFlow.js wants them
    if (stored.parts) {
      const [real, imag] = await Promise.all([
        this.read(stored.parts.real.dataId),
        this.read(stored.parts.imag.dataId),
      ]);
      return tf.backend_util.mergeRealAndImagArrays(real as Float32Array, imag as Float32Array);
    }
    if (stored.values) return stored.values.slice();
    if (stored.elements === 0) return typedArray(new ArrayBuffer(0), stored.dtype);
    this.#check('read');
    if (stored.half) {
      const { dataId: copy } = this.#expanded({ dataId, shape: [stored.elements], dtype: stored.dtype });
      return this.read(copy).finally(() => this.disposeData(copy));
    }
    const bytes = bytesOf(stored);
    const staging = this.device.createBuffer({ size: bytes, usage: mapRead | copyDst, label: 'read back' });
    try {
      this.#queue.copy(stored.buffer!, staging, bytes);
      await this.#submitted('read');
      await this.#finished('read', staging.mapAsync(mapModeRead));
      const values = typedArray(staging.getMappedRange().slice(0), stored.dtype);
      if (stored.elements <= keptElements) stored.values = values.slice();
      return values;
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
    await this.#submitted('sync');
    await this.#finished('sync', this.device.queue.onSubmittedWorkDone());
  }

  override disposeData(dataId: tf.DataId, force = false): boolean {
    const stored = this.#stored.get(dataId);
    if (!stored) return true;
    stored.refCount--;
    if (!force && stored.refCount > 0) return false;
    this.#stored.delete(dataId);
    if (stored.parts) for (const part of Object.values(stored.parts)) this.disposeData(part.dataId, force);
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

  /** The sum of the times of the dispatches of `work`, which must be synchronous; behind `tf.time` and, in debug mode, `tf.profile`. */
  override async time(work: () => void): Promise<tf.BackendTimingInfo> {
    const stop = this.record();
    let dispatches: DispatchTime[];
    try {
      work(); // at once: TensorFlow.js uses the results while the times are under way
    } finally {
      dispatches = await stop();
    }
    return {
      kernelMs: dispatches.reduce((sum, { milliseconds }) => sum + milliseconds, 0),
      getExtraProfileInfo: () =>
        dispatches.map(({ label, milliseconds }) => `${label}: ${milliseconds.toFixed(3)} ms`).join(', '),
    };
  }

  /**
   * Times each dispatch from now on, which costs a compute pass each; without a recording nothing is timed. `profile` makes a report of it.
   *
   * @param clock the device's timestamps where it has them; `cpu` awaits each dispatch alone, to about 0.1 ms in Node
   * @returns ends the recording and waits for the times, in the order of the dispatches
   * @throws when the device has no timestamps and they are asked for
   */
  record(clock: Clock = this.clock): () => Promise<DispatchTime[]> {
    this.#check('record');
    if (clock === 'timestamp-query' && this.clock === 'cpu')
      throw new Error(`record: expected a device with timestamp-query, got ${this.facts.name}; use the clock 'cpu'`);
    const stop = this.#recorder.start(clock);
    return () => this.#finished('record', stop());
  }

  /** The best clock that the device has for `record`. */
  get clock(): Clock {
    return this.device.features.has('timestamp-query') ? 'timestamp-query' : 'cpu';
  }

  /**
   * Runs `work` once with its pipelines compiled beside one another: nothing is dispatched before `work` ends or reads, and by then
   * all compilations are under way. It waits until the work is done: later runs find everything compiled.
   *
   * @returns what `work` returns
   */
  async warmUp<T>(work: () => T | Promise<T>): Promise<T> {
    this.#check('warmUp');
    this.#queue.hold();
    try {
      return await work();
    } finally {
      await this.#finished('warmUp', this.#queue.release());
      await this.#finished('warmUp', this.device.queue.onSubmittedWorkDone()); // lavapipe compiles at the first dispatch
    }
  }

  /** Notes from now on, until `stop`, where tensors are made; `left` lists those that still live. `findLeaks` is made of it. */
  trackTensors(): { left(besides?: readonly tf.TensorInfo[]): Leak[]; stop(): void } {
    const { since, stop } = this.#origins.watch();
    const left = (besides: readonly tf.TensorInfo[] = []): Leak[] => {
      const others = new Set(besides.map(({ dataId }) => dataId));
      return Array.from(this.#stored).flatMap(([dataId, stored]) => {
        const { origin, dtype, refCount } = stored;
        if (!origin || origin.order <= since || others.has(dataId)) return [];
        const { label, shape, stack } = origin;
        return [{ label, shape, dtype, bytes: bytesOf(stored), references: refCount, stack }];
      });
    };
    return { left, stop };
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

  #get(dataId: tf.DataId): TensorRecord {
    const stored = this.#stored.get(dataId);
    if (stored) return stored;
    this.#check('webgpu');
    throw new Error('webgpu: expected a live tensor, got one that was disposed or belongs to another backend');
  }

  #bytesOf(tensors: readonly tf.TensorInfo[]): number {
    return tensors.reduce((sum, { dataId }) => sum + bytesOf(this.#get(dataId)), 0);
  }

  #check(label: string): void {
    if (this.#disposed) throw new Error(`${label}: expected a live backend, got one that was disposed`);
    if (this.#failure) throw this.#failure;
  }

  /** Waits for `work` and for the news of what failed before it. */
  async #finished<T>(label: string, work: Promise<T>): Promise<T> {
    let result: T;
    try {
      result = await awaitGpu(work);
    } catch (error) {
      await settled(this.device.lost, 1000); // browsers reject the work of a lost device before they tell of the loss
      this.#check(label);
      throw error;
    }
    await this.#pipelines.checked();
    this.#check(label);
    return result;
  }

  /** All that was asked for so far is submitted. */
  async #submitted(label: string): Promise<void> {
    if (this.#queue.held) await this.#finished(label, this.#queue.drain());
    else this.#queue.flush();
  }

  #bufferOf(input: tf.TensorInfo, label: string): GPUBuffer {
    const stored = this.#get(input.dataId);
    if (stored.buffer) return stored.buffer;
    if (!stored.values)
      throw new Error(`${label}: expected float32, int32 or bool, got ${stored.dtype} [${input.shape}]`);
    checkBinding(bytesOf(stored), label, input.shape, this.facts);
    const words = asWords(stored.values, stored.dtype);
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

/** Waits for `work`, at most so long. */
async function settled(work: Promise<unknown>, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work, timeout]);
  clearTimeout(timer);
}
