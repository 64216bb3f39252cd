import type * as tf from '@tensorflow/tfjs-core';
import { type Leak, Origins } from '../watching/origins.ts';
import type { GpuBuffer } from './gpu-buffer.ts';
import { bytesOf, keptElements, sizeOf, type TensorRecord, tensorRecord } from './tensor-record.ts';

/** The records of the live tensors by TensorFlow.js's ids, with the counts of their references. */
export class TensorStore {
  readonly origins: Origins = new Origins();
  readonly #records = new Map<tf.DataId, TensorRecord>();
  readonly #release: (buffer: GpuBuffer) => void;

  /** `release` takes the buffers of tensors that are freed. */
  constructor(release: (buffer: GpuBuffer) => void) {
    this.#release = release;
  }

  get size(): number {
    return this.#records.size;
  }

  find(dataId: tf.DataId): TensorRecord | undefined {
    return this.#records.get(dataId);
  }

  /** A tensor of its own. */
  add(record: TensorRecord): tf.DataId {
    const dataId = {};
    this.#records.set(dataId, record);
    return dataId;
  }

  /** Takes values from the CPU: copies of up to `keptElements`, which stay there beside the buffer, else the array itself. */
  put(
    dataId: tf.DataId,
    values: tf.backend_util.BackendValues,
    { shape, dtype, refCount }: { shape: readonly number[]; dtype: tf.DataType; refCount: number },
  ): void {
    const elements = sizeOf(shape);
    if (dtype === 'string') {
      this.#records.set(dataId, tensorRecord(dtype, elements, { refCount, texts: values as Uint8Array[] }));
      return;
    }
    const typed = values as tf.backend_util.TypedArray;
    const kept = elements <= keptElements ? typed.slice() : typed;
    const origin = this.origins.of('values', shape);
    this.#records.set(dataId, tensorRecord(dtype, elements, { refCount, values: kept, origin }));
  }

  /** Takes one reference, or with `force` all. @returns whether the tensor is freed */
  free(dataId: tf.DataId, force: boolean): boolean {
    const record = this.#records.get(dataId);
    if (!record) return true;
    record.refCount--;
    if (!force && record.refCount > 0) return false;
    this.#records.delete(dataId);
    if (record.parts) for (const part of Object.values(record.parts)) this.free(part.dataId, force);
    if (record.buffer) this.#release(record.buffer);
    return true;
  }

  /** The tensors made since an order of `origins`, but for `besides`. */
  made(since: number, besides: readonly tf.TensorInfo[]): Leak[] {
    const others = new Set(besides.map(({ dataId }) => dataId));
    return Array.from(this.#records).flatMap(([dataId, record]) => {
      const { origin, dtype, refCount } = record;
      if (!origin || origin.order <= since || others.has(dataId)) return [];
      const { label, shape, stack } = origin;
      return [{ label, shape, dtype, bytes: bytesOf(record), references: refCount, stack }];
    });
  }

  /** Forgets all; the buffers are the caller's. */
  clear(): void {
    this.#records.clear();
  }
}
