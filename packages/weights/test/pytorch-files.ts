import { crc32 } from 'node:zlib';

/** Bytes of a part of a pickle. */
export interface Raw {
  opcodes: number[];
}

/** What can be pickled here: arrays become tuples, maps dicts. */
export type Python = string | number | boolean | null | Raw | readonly Python[] | ReadonlyMap<string, Python>;

const letters = (text: string): number[] => Array.from(new TextEncoder().encode(text));
const uint32 = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];

/** Opcodes of protocol 2 for a value. */
function opcodes(value: Python): number[] {
  if (value === null) return letters('N');
  if (value === true) return [0x88];
  if (value === false) return [0x89];
  if (typeof value === 'number') return [...letters('J'), ...uint32(value)];
  if (typeof value === 'string') return [...letters('X'), ...uint32(letters(value).length), ...letters(value)];
  if (value instanceof Map) {
    return [
      ...letters('}('),
      ...[...value].flatMap(([key, item]) => [...opcodes(key), ...opcodes(item)]),
      ...letters('u'),
    ];
  }
  if (Array.isArray(value)) return [...letters('('), ...value.flatMap(opcodes), ...letters('t')];
  return (value as Raw).opcodes;
}

/** A name of a module: a class, or a function. */
export function named(module: string, name: string): Raw {
  return { opcodes: letters(`c${module}\n${name}\n`) };
}

/** A call in a pickle. */
export function call(module: string, name: string, inputs: readonly Python[]): Raw {
  return { opcodes: [...named(module, name).opcodes, ...opcodes(inputs), ...letters('R')] };
}

/** An object of a class, with fields. */
export function instance(module: string, name: string, fields: ReadonlyMap<string, Python>): Raw {
  return { opcodes: [...named(module, name).opcodes, ...letters(')'), 0x81, ...opcodes(fields), ...letters('b')] };
}

/** The bytes of a pickle of a value. */
export function pickleOf(value: Python): Uint8Array {
  return Uint8Array.from([0x80, 2, ...opcodes(value), ...letters('.')]);
}

/** A tensor in storage `key`; strides are row-major unless given. */
export function tensorOf(
  key: string,
  shape: readonly number[],
  options: { type?: string; length?: number; offset?: number; strides?: readonly number[] } = {},
): Raw {
  const size = shape.reduce((product, length) => product * length, 1);
  const { type = 'FloatStorage', length = size, offset = 0 } = options;
  const strides = options.strides ?? shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const storage = { opcodes: [...opcodes(['storage', named('torch', type), key, 'cpu', length]), ...letters('Q')] };
  const hooks = call('collections', 'OrderedDict', []);
  return call('torch._utils', '_rebuild_tensor_v2', [storage, offset, shape, strides, false, hooks]);
}

/** A file as torch.save writes it: a pickle and storages. */
export function torchFile(pickle: Uint8Array, storages: Readonly<Record<string, ArrayBufferView>>): Uint8Array {
  const data = Object.entries(storages).map(([key, { buffer, byteOffset, byteLength }]) => [
    `model/data/${key}`,
    new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength),
  ]);
  return zipOf({ 'model/data.pkl': pickle, ...Object.fromEntries(data), 'model/version': Uint8Array.from([51, 10]) });
}

/** Stands for a number that is in a ZIP64 record. */
const wide = 0xffffffff;

/** A zip of stored files with their checksums (0 where `crc` is false: left out); with `wide` all sizes and offsets stand in ZIP64 records. */
export function zipOf(
  files: Readonly<Record<string, Uint8Array>>,
  options: { method?: number; wide?: boolean; crc?: boolean; flags?: number } = {},
): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [name, bytes] of Object.entries(files)) {
    const crc = options.crc === false ? 0 : crc32(bytes);
    const fields = [20, options.flags ?? 0, options.method ?? 0, 0, 0, crc & 0xffff, crc >>> 16];
    const sizes = [bytes.length, bytes.length];
    const local = record('PK\x03\x04', fields, sizes, [letters(name).length, 0]);
    const extra = options.wide ? record('', [1, 24], [bytes.length, 0, bytes.length, 0, at, 0]) : new Uint8Array(0);
    const [listed, offset] = options.wide ? [[wide, wide], wide] : [sizes, at];
    directory.push(
      record('PK\x01\x02', [20, ...fields], listed, [letters(name).length, extra.length, 0, 0, 0, 0, 0], [offset]),
      Uint8Array.from(letters(name)),
      extra,
    );
    parts.push(local, Uint8Array.from(letters(name)), bytes);
    at += local.length + letters(name).length + bytes.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const count = Object.keys(files).length;
  const records = [
    record('PK\x06\x06', [], [44, 0], [45, 45], [0, 0, count, 0, count, 0, size, 0, at, 0]),
    record('PK\x06\x07', [], [0, at + size, 0, 1]),
  ];
  const end = options.wide
    ? [...records, record('PK\x05\x06', [0, 0, 0xffff, 0xffff], [wide, wide], [0])]
    : [record('PK\x05\x06', [0, 0, count, count], [size, at], [0])];
  return new Uint8Array(Buffer.concat([...parts, ...directory, ...end]));
}

/** A signature, then fields in turns of 16 and 32 bits. */
function record(signature: string, ...groups: readonly number[][]): Uint8Array {
  const fields = groups.flatMap((group, i) => group.flatMap((value) => uint32(value).slice(0, i % 2 === 0 ? 2 : 4)));
  return Uint8Array.from([...letters(signature), ...fields]);
}
