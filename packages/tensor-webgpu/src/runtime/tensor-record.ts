import type * as tf from '@tensorflow/tfjs-core';
import type { Origin } from '../watching/origins.ts';
import type { GpuBuffer } from './gpu-buffer.ts';

/** The two float32 tensors that a complex64 tensor consists of. */
export interface ComplexParts {
  readonly real: tf.TensorInfo;
  readonly imag: tf.TensorInfo;
}

/** Where a tensor's values are: on the CPU until a kernel needs them, then in a buffer. */
export interface TensorRecord {
  readonly dtype: tf.DataType;
  readonly elements: number;
  /** The buffer holds float16: two bytes a value. */
  readonly half: boolean;
  refCount: number;
  values: tf.backend_util.TypedArray | undefined;
  buffer: GpuBuffer | undefined;
  /** of a string tensor, which never leaves the CPU */
  readonly texts: readonly Uint8Array[] | undefined;
  /** of a complex64 tensor */
  readonly parts: ComplexParts | undefined;
  /** Where it was made, while leaks are looked for. */
  readonly origin: Origin | undefined;
}

/** A record of one tensor, with what it holds. All have the same fields in the same order, which V8 reads the fastest. */
export const tensorRecord = (
  dtype: tf.DataType,
  elements: number,
  held: Partial<Omit<TensorRecord, 'dtype' | 'elements'>>,
): TensorRecord => ({
  dtype,
  elements,
  half: held.half ?? false,
  refCount: held.refCount ?? 1,
  values: held.values,
  buffer: held.buffer,
  texts: held.texts,
  parts: held.parts,
  origin: held.origin,
});

/** What its values take in a buffer. */
export const bytesOf = ({ elements, half }: Pick<TensorRecord, 'elements' | 'half'>): number =>
  elements * (half ? 2 : 4);

/** Tensors this small keep their CPU values beside the buffer. */
export const keptElements = 64;

/** A copy of what is on the CPU, or undefined. Holes between texts stay holes, as TensorFlow.js wants them. */
export function knownValues({
  texts,
  values,
  elements,
  dtype,
}: TensorRecord): tf.backend_util.BackendValues | undefined {
  if (texts) return texts.slice();
  if (values) return values.slice();
  return elements === 0 ? typedArray(new ArrayBuffer(0), dtype) : undefined;
}

/** As `tf.util.sizeFromShape`, of a shape that nobody may change. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

/** Values as a buffer holds them: every dtype in 32-bit words. */
export function asWords(values: tf.backend_util.TypedArray, dtype: tf.DataType): Float32Array | Int32Array {
  if (dtype === 'float32') return values instanceof Float32Array ? values : Float32Array.from(values);
  return values instanceof Int32Array ? values : Int32Array.from(values);
}

/** The inverse of `asWords`. */
export function typedArray(bytes: ArrayBuffer, dtype: tf.DataType): tf.backend_util.TypedArray {
  if (dtype === 'float32') return new Float32Array(bytes);
  if (dtype === 'int32') return new Int32Array(bytes);
  return Uint8Array.from(new Int32Array(bytes));
}
