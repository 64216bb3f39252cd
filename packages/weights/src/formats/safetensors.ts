import { checkFields } from '../check-fields.ts';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from './half.ts';
import type { RawTensor } from './raw-tensor.ts';
import { type Entry, elementBytes, parseHeader } from './safetensors-header.ts';

/** Uint8Array<ArrayBuffer>, as TypeScript before 5.7 can read it too. */
type Bytes = ReturnType<Uint8Array['slice']>;

/** The contents of a safetensors file. */
export interface Safetensors {
  tensors: Record<string, RawTensor>;
  metadata: Record<string, string>;
}

/**
 * Reads a safetensors file from its bytes. Nothing in it is trusted: lengths, offsets and shapes are checked first.
 *
 * @param source the file's name, for errors
 * @throws when the file is truncated or not safetensors, a tensor's offsets overlap, leave a gap or do not fit its shape,
 *   a name occurs twice, a dtype is unknown, or an I64 value does not fit 32 bits
 */
export function parseSafetensors(bytes: Uint8Array, source: string): Safetensors {
  checkFields('parseSafetensors', { bytes }, { bytes: 'bytes' });
  const { entries, metadata, dataStart } = parseHeader(bytes, source);
  const data = bytes.subarray(dataStart);
  return {
    tensors: Object.fromEntries(entries.map((entry) => [entry.name, decode(entry, data, source)])),
    metadata,
  };
}

/**
 * Writes tensors as the bytes of a safetensors file, laid out by `layOut`.
 *
 * @throws when a tensor's data does not fit its shape, or a value is beyond F16's +-65504
 */
export function serializeSafetensors(
  tensors: Readonly<Record<string, RawTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Bytes {
  checkFields('serializeSafetensors', { tensors, metadata }, { tensors: 'object', metadata: 'object?' });
  const { header, order, size } = layOut(tensors, metadata);
  const bytes = new Uint8Array(header.length + size);
  bytes.set(header);
  let end = header.length;
  for (const name of order) {
    const data = encodeTensor(name, tensors[name]!);
    bytes.set(data, end);
    end += data.length;
  }
  return bytes;
}

/** The header of a file, the order of the data after it and its size in bytes. Wide dtypes come first, so that all are aligned. */
export function layOut(
  tensors: Readonly<Record<string, Pick<RawTensor, 'dtype' | 'shape'>>>,
  metadata: Readonly<Record<string, string>>,
): { header: Uint8Array; order: string[]; size: number } {
  const order = Object.entries(tensors).sort(
    ([a, x], [b, y]) => elementBytes[y.dtype] - elementBytes[x.dtype] || (a < b ? -1 : 1),
  );
  let end = 0;
  const entries = order.map(([name, { dtype, shape }]): Entry => {
    if (name === '__metadata__') throw new Error("serializeSafetensors: expected another name than '__metadata__'");
    const start = end;
    end += shape.reduce((product, length) => product * length, elementBytes[dtype]);
    return { name, dtype, shape, start, end };
  });
  const text = new TextEncoder().encode(headerText(entries, metadata));
  const header = new Uint8Array(8 + text.length);
  new DataView(header.buffer).setBigUint64(0, BigInt(text.length), true);
  header.set(text, 8);
  return { header, order: entries.map(({ name }) => name), size: end };
}

/** JSON, padded with spaces so that the data starts at a multiple of 8. */
function headerText(entries: readonly Entry[], metadata: Readonly<Record<string, string>>): string {
  const json = JSON.stringify({
    ...(Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {}),
    ...Object.fromEntries(
      entries.map(({ name, dtype, shape, start, end }) => [name, { dtype, shape, data_offsets: [start, end] }]),
    ),
  });
  const length = new TextEncoder().encode(json).length;
  return json + ' '.repeat((8 - (length % 8)) % 8);
}

/** The values of an entry, from the bytes after the header. */
export function decode({ name, dtype, shape, start, end }: Entry, data: Uint8Array, source: string): RawTensor {
  const width = elementBytes[dtype];
  // typed arrays need aligned offsets, which the format does not promise
  const aligned = (data.byteOffset + start) % width === 0 ? data.subarray(start, end) : data.slice(start, end);
  const { buffer, byteOffset } = aligned;
  const count = (end - start) / width;
  switch (dtype) {
    case 'F32':
      return { dtype, shape, data: new Float32Array(buffer, byteOffset, count) };
    case 'F64':
      return { dtype, shape, data: Float32Array.from(new Float64Array(buffer, byteOffset, count)) };
    case 'F16':
      return { dtype, shape, data: fromHalves(new Uint16Array(buffer, byteOffset, count)) };
    case 'BF16':
      return { dtype, shape, data: fromBfloats(new Uint16Array(buffer, byteOffset, count)) };
    case 'I32':
      return { dtype, shape, data: new Int32Array(buffer, byteOffset, count) };
    case 'I64':
      return { dtype, shape, data: narrow(new BigInt64Array(buffer, byteOffset, count), name, source) };
    default:
      return { dtype, shape, data: aligned };
  }
}

/** float16 bits -> number, for all 65,536 of them: ten times as fast as reckoning each. */
let halves: Float32Array | undefined;

function fromHalves(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 2 ** 16 }, (_, half) => fromFloat16(half));
  const result = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) result[i] = halves[bits[i]!]!;
  return result;
}

/** A plain loop: `from` with a function takes seconds for the millions of values of a model. */
function fromBfloats(bits: Uint16Array): Float32Array {
  const result = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) result[i] = fromBfloat16(bits[i]!);
  return result;
}

function narrow(values: BigInt64Array, name: string, source: string): Int32Array {
  const result = new Int32Array(values.length);
  values.forEach((value, index) => {
    if (BigInt.asIntN(32, value) !== value) {
      throw new Error(
        `parseSafetensors: expected the I64 values of '${name}' in ${source} to fit 32 bits, got ${value} at ${index}`,
      );
    }
    result[index] = Number(value);
  });
  return result;
}

/** The bytes of a tensor. @throws when its data does not fit its shape, or a value is beyond F16's +-65504 */
export function encodeTensor(name: string, tensor: RawTensor): Uint8Array {
  checkFields('encodeTensor', { name }, { name: 'string' });
  checkFields('encodeTensor', tensor, { dtype: 'string', shape: 'list', data: 'list' });
  const { dtype, shape, data } = tensor;
  const size = shape.reduce((product, length) => product * length, 1);
  if (data.length !== size) {
    throw new Error(`encodeTensor: expected ${size} values for '${name}' [${shape.join(', ')}], got ${data.length}`);
  }
  const typed = encodeValues(name, dtype, data);
  return new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength);
}

function encodeValues(name: string, dtype: RawTensor['dtype'], data: RawTensor['data']): ArrayBufferView {
  switch (dtype) {
    case 'F32':
      return data instanceof Float32Array ? data : Float32Array.from(data);
    case 'F64':
      return Float64Array.from(data);
    case 'F16':
      return toHalf(name, data);
    case 'BF16': {
      const bits = new Uint16Array(data.length);
      for (let i = 0; i < data.length; i++) bits[i] = toBfloat16(data[i]!);
      return bits;
    }
    case 'I32':
      return Int32Array.from(data);
    case 'I64':
      return BigInt64Array.from(Array.from(data, BigInt));
    default:
      return Uint8Array.from(data);
  }
}

function toHalf(name: string, data: RawTensor['data']): Uint16Array {
  const result = new Uint16Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const bits = toFloat16(data[i]!);
    if ((bits & 0x7fff) === 0x7c00 && Number.isFinite(data[i])) {
      throw new Error(
        `serializeSafetensors: expected the F16 values of '${name}' within +-65504, got ${data[i]} at ${i}; write F32`,
      );
    }
    result[i] = bits;
  }
  return result;
}
