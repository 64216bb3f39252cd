import { expect, test } from 'vitest';
import type { RawTensor } from './raw-tensor.ts';
import { parseSafetensors, serializeSafetensors } from './safetensors.ts';

/** A file with any text as header. */
function file(header: unknown, dataBytes: number, length?: bigint): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}
const f32 = (start: number, end: number, shape: unknown = [(end - start) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [start, end],
});

const refused: [string, Uint8Array, string | RegExp][] = [
  ['an empty file', new Uint8Array(0), 'at least the 8 bytes of the header length in x, got 0'],
  ['a huge header', file('{}', 0, 2n ** 63n), 'a header of at most 2 bytes in x, got 9223372036854775808'],
  ['a header beyond the file', file('{}', 0, 3n), 'a header of at most 2 bytes in x, got 3; truncated'],
  ['a header that is not JSON', file('{"a":', 0), 'a JSON header in x'],
  ['a header that is not UTF-8', file('{}', 1).fill(0xff, 8, 10), 'a JSON header in x'],
  ['a header that is not an object', file('[1]', 0), "a JSON object as header in x, got '[1]'"],
  ['a tensor that is not an object', file({ a: 3 }, 0), "an object for tensor 'a' in x, got 3"],
  [
    'overlapping tensors',
    file({ a: f32(0, 8), b: f32(4, 12) }, 12),
    "'b' to start at 8, after 'a' in x, got 4: an over",
  ],
  ['a gap', file({ a: f32(0, 4), b: f32(8, 12) }, 12), "'b' to start at 4, after 'a' in x, got 8: a gap"],
  ['a tensor past the end', file({ a: f32(0, 8) }, 4), "'a' to end within 4 bytes of data in x, got 8; truncated?"],
  ['data after the last tensor', file({ a: f32(0, 4) }, 5), 'got 1 bytes more'],
  ['swapped offsets', file({ a: f32(4, 0, [1]) }, 4), "data_offsets of 'a' as [start, end] in x, got [4,0]"],
  ['three offsets', file({ a: { ...f32(0, 4), data_offsets: [0, 2, 4] } }, 4), "data_offsets of 'a'"],
  ['an unknown dtype', file({ a: { ...f32(0, 4), dtype: 'F8_E4M3' } }, 4), `dtype of 'a' to be one of`],
  ['a dtype from the prototype', file({ a: { ...f32(0, 4), dtype: 'toString' } }, 4), `dtype of 'a'`],
  ['a shape of another size', file({ a: f32(0, 8, [3]) }, 8), "12 bytes for 'a' (F32 [3]) in x, got 8"],
  ['an overflowing shape', file({ a: f32(0, 4, [2 ** 50, 2 ** 50]) }, 4), "bytes for 'a'"],
  ['a negative shape', file({ a: f32(0, 4, [-1, -1]) }, 4), "shape of 'a' as whole numbers from 0 in x, got [-1,-1]"],
  ['a fraction as shape', file({ a: f32(0, 4, [0.5, 2]) }, 4), "shape of 'a' as whole numbers"],
  ['a missing shape', file({ a: { dtype: 'F32', data_offsets: [0, 4] } }, 4), "shape of 'a' as whole numbers"],
  ['metadata that is not text', file({ __metadata__: { epoch: 3 } }, 0), '__metadata__ as an object of strings'],
  ['a list as header', file(`[${'[],'.repeat(3)}1]`, 0), "a JSON object as header in x, got '[[],[],[],1]'"],
  ['lists in place of tensors', file(`{"a":[${'[],'.repeat(10_000)}1]}`, 0), 'an object for tensor'],
  ['deep nesting', file(`{"a":${'{"b":'.repeat(100_000)}1${'}'.repeat(100_000)}}`, 0), 'values at most 3 deep'],
  ['many fields', file({ a: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [i, 1])) }, 0), 'at most 16 names'],
  ['control characters', file({ a: { dtype: 'F\u001b[2J', shape: [], data_offsets: [0, 4] } }, 4), 'got "F\\u001b[2J"'],
  [
    'a name twice',
    file(`{"a":${JSON.stringify(f32(0, 4))},"\\u0061" :${JSON.stringify(f32(4, 8))}}`, 8),
    "every name once in x, got 'a' twice",
  ],
];
test.each(refused)('refuses %s', (_, bytes, message) => {
  expect(() => parseSafetensors(bytes, 'x')).toThrow('parseSafetensors: expected ');
  expect(() => parseSafetensors(bytes, 'x')).toThrow(message);
});

test('refuses a good file cut at any byte', () => {
  const bytes = serializeSafetensors({ a: { dtype: 'F32', shape: [3], data: Float32Array.of(1, 2, 3) } });
  for (let length = 0; length < bytes.length; length++) {
    expect(() => parseSafetensors(bytes.subarray(0, length), 'x')).toThrow('parseSafetensors: expected ');
  }
});

test('a header of 30 MB that means nothing is refused at once, and a long text in it is read', () => {
  const start = process.cpuUsage();
  expect(() => parseSafetensors(file('[],'.repeat(10_000_000), 0), 'x')).toThrow('a JSON object as header');
  expect(() => parseSafetensors(file(`{"a":{"b":[${'[],'.repeat(10_000_000)}1]}}`, 0), 'x')).toThrow('at most 3 deep');
  const { user, system } = process.cpuUsage(start);
  expect((user + system) / 1e6, 'seconds of processor time').toBeLessThan(2);
  const notes = '[0.25, "x"],'.repeat(1_000_000);
  const bytes = serializeSafetensors({ a: { dtype: 'U8', shape: [1], data: Uint8Array.of(7) } }, { notes });
  expect(parseSafetensors(bytes, 'x').metadata.notes).toBe(notes);
});

test('names from Object.prototype are names like others', () => {
  const one = (value: number): RawTensor => ({ dtype: 'U8', shape: [1], data: Uint8Array.of(value) });
  const tensors = Object.fromEntries([
    ['__proto__', one(1)],
    ['constructor', one(2)],
    ['toString', one(3)],
  ]);
  const metadata = Object.fromEntries([['__proto__', 'a']]);
  const read = parseSafetensors(serializeSafetensors(tensors, metadata), 'x');
  expect(Object.keys(read.tensors).sort()).toEqual(['__proto__', 'constructor', 'toString']);
  expect(Object.keys(read.metadata)).toEqual(['__proto__']);
  expect(Object.hasOwn(Object.prototype, 'isAdmin')).toBe(false);
});

test('reads back what it wrote: every dtype, an empty tensor, a scalar, metadata', () => {
  const tensors: Record<string, RawTensor> = {
    byte: { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 255) },
    half: { dtype: 'F16', shape: [1, 3], data: Float32Array.of(0.5, -2, 65504) },
    brain: { dtype: 'BF16', shape: [2], data: Float32Array.of(0.5, -256) },
    single: { dtype: 'F32', shape: [2, 2], data: Float32Array.of(1.1, 2, 3, 4) },
    double: { dtype: 'F64', shape: [1], data: Float32Array.of(1.1) },
    whole: { dtype: 'I32', shape: [1], data: Int32Array.of(-7) },
    long: { dtype: 'I64', shape: [2], data: Int32Array.of(-(2 ** 31), 2 ** 31 - 1) },
    flag: { dtype: 'BOOL', shape: [2], data: Uint8Array.of(0, 1) },
    none: { dtype: 'F32', shape: [1, 0, 4], data: new Float32Array(0) },
    'scalar "ü"': { dtype: 'F32', shape: [], data: Float32Array.of(9) },
  };
  const metadata = { format: 'pt', epoch: '3' };
  const bytes = serializeSafetensors(tensors, metadata);
  expect(parseSafetensors(bytes, 'x')).toEqual({ tensors, metadata });
  const shifted = new Uint8Array(bytes.length + 1);
  shifted.set(bytes, 1);
  expect(parseSafetensors(shifted.subarray(1), 'x')).toEqual({ tensors, metadata });
});

test('an I64 value beyond 32 bits is named', () => {
  const bytes = file({ a: { dtype: 'I64', shape: [1], data_offsets: [0, 8] } }, 8).fill(1, -8);
  expect(() => parseSafetensors(bytes, 'x')).toThrow("the I64 values of 'a' in x to fit 32 bits");
});

test('the writer refuses wrong sizes and F16 overflow', () => {
  const data = Float32Array.of(1, 70000);
  expect(() => serializeSafetensors({ a: { dtype: 'F16', shape: [2], data } })).toThrow(
    "'a' within +-65504, got 70000",
  );
  expect(() => serializeSafetensors({ a: { dtype: 'F32', shape: [3], data } })).toThrow("3 values for 'a' [3], got 2");
});
