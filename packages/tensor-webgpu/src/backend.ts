import * as tf from '@tensorflow/tfjs-core';
import type { AdapterFacts, OpenDevice } from './device/open-device.ts';
import { fromHalf } from './program/half.wgsl.ts';
import type { Program } from './program/program.ts';
import type { Shader } from './program/shader.ts';
import { DeviceFailure } from './runtime/device-failure.ts';
import { checkTensors } from './runtime/fitting.ts';
import { Launcher } from './runtime/launcher.ts';
import { checkBinding } from './runtime/limits.ts';
import {
  bytesOf,
  type ComplexParts,
  keptElements,
  knownValues,
  sizeOf,
  type TensorRecord,
  tensorRecord,
  typedArray,
} from './runtime/tensor-record.ts';
import { TensorStore } from './runtime/tensor-store.ts';
import { awaitGpu, settled } from './runtime/wait.ts';
import type { Clock } from './watching/dispatch-timer.ts';
import type { Leak } from './watching/origins.ts';
import type { DispatchTime } from './watching/recorder.ts';

/** What a kernel is to make. */
interface Output {
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
  /** A tensor that nothing else uses: the program reads its values from the output's buffer, and writes the results over them. */
  readonly over?: tf.TensorInfo | undefined;
}

/** A TensorFlow.js backend that computes in WGSL. Make one with `createWebgpuBackend` or `useWebgpu`. */
export class WebgpuBackend extends tf.KernelBackend {
  readonly facts: AdapterFacts;
  readonly device: GPUDevice;
  readonly #keepAlive: unknown;
  readonly #shared: boolean;
  readonly #launcher: Launcher;
  readonly #failure: DeviceFailure;
  readonly #tensors = new TensorStore((buffer) => this.#launcher.release(buffer));
  #disposed = false;

  constructor(opened: OpenDevice) {
    super();
    this.device = opened.device;
    this.facts = opened.facts;
    this.#keepAlive = opened.keepAlive;
    this.#shared = opened.shared ?? false;
    this.#launcher = new Launcher(this.device, {
      refused: (message) => this.#failure.refused(message),
      outOfMemory: (message) => this.#failure.outOfMemory(message),
    });
    this.#failure = new DeviceFailure(this.device, { memory: () => this.#launcher.memory, shared: this.#shared });
  }

  /**
   * Allocates the outputs and encodes one dispatch (submitted with others, at the latest when something is read). Inputs in half
   * precision that the program does not take so are expanded for it.
   *
   * @throws when the tensors or uniforms are not those that the shader declares, or the adapter does not allow so many or so large
   *   bindings, or so many workgroups
   */
  run(program: Program, inputs: readonly tf.TensorInfo[], outputs: readonly Output[]): tf.TensorInfo[] {
    const { shader } = program;
    const { label } = shader;
    this.#check(label);
    checkTensors(shader, 'inputs', inputs);
    checkTensors(shader, 'outputs', outputs);
    const made: TensorRecord[] = [];
    for (let i = 0; i < outputs.length; i++) {
      const { shape, dtype, over } = outputs[i]!;
      if (over) made.push(this.#get(over.dataId));
      else {
        const { half } = shader.outputs[i]!;
        const record = tensorRecord(dtype, sizeOf(shape), { half, origin: this.#tensors.origins.of(label, shape) });
        checkBinding(bytesOf(record), label, shape, this.facts);
        made.push(record);
      }
    }
    const taken: TensorRecord[] = [];
    let copies: tf.DataId[] | undefined;
    for (let i = 0; i < inputs.length; i++) {
      const record = this.#taken(inputs[i]!, shader, i);
      if (record.half && !shader.inputs[i]!.half) {
        const { dataId } = this.run(fromHalf(record.elements), [inputs[i]!], [inputs[i]!])[0]!;
        copies ??= [];
        copies.push(dataId);
        taken.push(this.#get(dataId));
      } else taken.push(record);
    }
    try {
      this.#launcher.launch(program, { inputs: taken, outputs: made, facts: this.facts });
    } finally {
      if (copies) for (const dataId of copies) this.disposeData(dataId);
    }
    const results: tf.TensorInfo[] = [];
    for (let i = 0; i < outputs.length; i++) {
      const { shape, over } = outputs[i]!;
      const record = made[i]!;
      if (over) {
        record.values = undefined;
        results.push(this.makeView(over, shape));
      } else {
        results.push({ dataId: this.#tensors.add(record), shape: shape.slice(), dtype: record.dtype });
      }
    }
    return results;
  }

  /** Whether the tensor's buffer is its own, and no other tensor has the same data. */
  isAlone({ dataId }: tf.TensorInfo): boolean {
    const record = this.#get(dataId);
    return record.refCount === 1 && record.buffer !== undefined && record.elements > 1; // scalars share buffers
  }

  /** An input's record, with a buffer. */
  #taken(input: tf.TensorInfo, { label, inputs }: Shader, i: number): TensorRecord {
    const record = this.#get(input.dataId);
    const { half, name } = inputs[i]!;
    if (half && !record.half)
      throw new Error(`${label}: expected '${name}' in half precision, got ${input.dtype}; use half(x)`);
    if (record.buffer) return record;
    if (!record.values)
      throw new Error(`${label}: expected '${name}' of float32, int32 or bool, got ${record.dtype} [${input.shape}]`);
    checkBinding(bytesOf(record), label, input.shape, this.facts);
    this.#launcher.upload(record, label);
    if (record.elements > keptElements) record.values = undefined;
    return record;
  }

  /** Whether the values are stored in half precision. */
  isHalf({ dataId }: tf.TensorInfo): boolean {
    return this.#tensors.find(dataId)?.half ?? false;
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
    return this.#tensors.find(input.dataId)?.values;
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
    const { shape } = parts.real;
    const dataId = this.#tensors.add(tensorRecord('complex64', sizeOf(shape), { parts }));
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
    this.#tensors.put(dataId, values, { shape, dtype, refCount });
  }

  override async read(dataId: tf.DataId): Promise<tf.backend_util.BackendValues> {
    const record = this.#get(dataId);
    if (record.parts) {
      const [real, imag] = await Promise.all([
        this.read(record.parts.real.dataId),
        this.read(record.parts.imag.dataId),
      ]);
      return tf.backend_util.mergeRealAndImagArrays(real as Float32Array, imag as Float32Array);
    }
    const known = knownValues(record);
    if (known) return known;
    this.#check('read');
    if (record.half) {
      const x = { dataId, shape: [record.elements], dtype: record.dtype };
      const { dataId: copy } = this.run(fromHalf(record.elements), [x], [x])[0]!;
      return this.read(copy).finally(() => this.disposeData(copy));
    }
    const bytes = bytesOf(record);
    const staging = this.device.createBuffer({ size: bytes, usage: mapRead | copyDst, label: 'read back' });
    try {
      this.#launcher.queue.copy(record.buffer!, staging, bytes);
      await this.#submitted('read');
      await this.#finished('read', staging.mapAsync(mapModeRead));
      const values = typedArray(staging.getMappedRange().slice(0), record.dtype);
      if (record.elements <= keptElements) record.values = values.slice();
      return values;
    } finally {
      staging.destroy();
    }
  }

  /**
   * The values where they are on the CPU: of tensors that no kernel has computed or taken, and of small ones that are constants or
   * have been read before.
   *
   * @throws when they are only on the GPU, which nothing can wait for
   */
  override readSync(dataId: tf.DataId): tf.backend_util.BackendValues {
    const record = this.#get(dataId);
    if (record.parts) {
      const [real, imag] = [record.parts.real, record.parts.imag].map((part) => this.readSync(part.dataId));
      return tf.backend_util.mergeRealAndImagArrays(real as Float32Array, imag as Float32Array);
    }
    const known = knownValues(record);
    if (known) return known;
    this.#check('read');
    throw new Error(
      'webgpu: expected an asynchronous read of values that are on the GPU, got dataSync() or arraySync(); use `await tensor.data()`',
    );
  }

  /** Waits until all work so far is done. */
  async sync(): Promise<void> {
    this.#check('sync');
    await this.#submitted('sync');
    await this.#finished('sync', this.device.queue.onSubmittedWorkDone());
  }

  override disposeData(dataId: tf.DataId, force = false): boolean {
    return this.#tensors.free(dataId, force);
  }

  override refCount(dataId: tf.DataId): number {
    return this.#tensors.find(dataId)?.refCount ?? 0;
  }

  override incRef(dataId: tf.DataId): void {
    this.#get(dataId).refCount++;
  }

  override numDataIds(): number {
    return this.#tensors.size;
  }

  override memory(): { unreliable: boolean; numBytesInGPU: number; numBytesIdle: number } {
    const { live, idle } = this.#launcher.memory;
    return { unreliable: false, numBytesInGPU: live, numBytesIdle: idle };
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
    const stop = this.#launcher.recorder.start(clock);
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
    this.#launcher.queue.hold();
    try {
      return await work();
    } finally {
      await this.#finished('warmUp', this.#launcher.queue.release());
      await this.#finished('warmUp', this.device.queue.onSubmittedWorkDone()); // lavapipe compiles at the first dispatch
    }
  }

  /** Notes from now on, until `stop`, where tensors are made; `left` lists those that still live. `findLeaks` is made of it. */
  trackTensors(): { left(besides?: readonly tf.TensorInfo[]): Leak[]; stop(): void } {
    const { since, stop } = this.#tensors.origins.watch();
    const left = (besides: readonly tf.TensorInfo[] = []): Leak[] => this.#tensors.made(since, besides);
    return { left, stop };
  }

  /**
   * Frees everything, removes the backend from TensorFlow.js and lets go of the adapter; the process can then end by itself.
   * A device that was given stays open, for its other users. Tensors that are left can be disposed, not used. A second call does nothing.
   */
  override dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    const name = Object.entries(tf.engine().registry).find(([, backend]) => backend === this)?.[0];
    if (name !== undefined) tf.removeBackend(name);
    this.#failure.dispose();
    if (this.#shared) this.#launcher.dispose();
    else this.device.destroy(); // with all its buffers
    this.#tensors.clear();
  }

  #get(dataId: tf.DataId): TensorRecord {
    const record = this.#tensors.find(dataId);
    if (record) return record;
    this.#check('webgpu');
    throw new Error('webgpu: expected a live tensor, got one that was disposed or belongs to another backend');
  }

  #check(label: string): void {
    if (this.#disposed) throw new Error(`${label}: expected a live backend, got one that was disposed`);
    const { cause } = this.#failure;
    if (cause) throw cause;
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
    await this.#launcher.pipelines.checked();
    this.#check(label);
    return result;
  }

  /** All that was asked for so far is submitted. */
  async #submitted(label: string): Promise<void> {
    if (this.#launcher.queue.held) await this.#finished(label, this.#launcher.queue.drain());
    else this.#launcher.queue.flush();
  }
}

const mapRead = 0x1; // GPUBufferUsage.MAP_READ
const copyDst = 0x8; // GPUBufferUsage.COPY_DST
const mapModeRead = 0x1; // GPUMapMode.READ
