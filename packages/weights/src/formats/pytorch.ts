import type { ByteSource } from '../sources/byte-source.ts';
import type { Attribute, TensorFile } from '../tensor-file.ts';
import { describe, isGlobal, isInstance, isOpaque, type Opaque, readPickle } from './pickle.ts';
import { printable } from './printable.ts';
import type { RawTensor } from './raw-tensor.ts';
import { decode } from './safetensors.ts';
import { elementBytes } from './safetensors-header.ts';
import { readZipDirectory, readZipEntry, type ZipEntry, zipReader } from './zip.ts';

/** Storage classes by the dtype of what they hold. */
const storages: Readonly<Record<string, RawTensor['dtype']>> = {
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.DoubleStorage': 'F64',
  'torch.IntStorage': 'I32',
  'torch.LongStorage': 'I64',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
};

/** Functions that `call` stands in for, and no others. */
const functions = [
  'collections.OrderedDict',
  '__builtin__.set',
  'builtins.set',
  'torch.Size',
  'torch.device',
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_parameter',
];

/** Classes of whole modules, by the start of their names; their objects are read as fields, their code is not here. */
const modules = ['torch.nn.modules.', 'torch.nn.parallel.'];

/** How deep modules may lie in one another. */
const deepest = 100;
/** Names of tensors, fields and dicts below the root: a module that stands under several names counts each time. */
const mostNames = 200_000;
/** Axes of a tensor; PyTorch's own limit. */
const mostAxes = 64;
/** Tensors may share storages and repeat values by strides, up to this many times the file's bytes in all. */
const mostRepeats = 4;
/** Bytes that small files may be expanded to. */
const smallExpansion = 2 ** 24;

/** Elements of a storage. */
interface Storage {
  dtype: RawTensor['dtype'];
  entry: ZipEntry;
  length: number;
}

/** A view of a storage: sizes, strides and offset in elements. */
interface StoredTensor {
  kind: 'tensor';
  storage: Storage;
  offset: number;
  shape: number[];
  strides: number[];
}

/**
 * Opens a file of `torch.save` (a zip of a pickle and storages): a state dict, dicts around one, or a whole module. Names are joined
 * by dots; a module's parameters and buffers are its tensors, its plain fields the attributes.
 *
 * Objects of other classes are left opaque and listed: an argparse.Namespace or a numpy array beside a state dict does no harm.
 *
 * @param allowed starts of class names that a whole module may have besides torch.nn's, like 'segment_anything.'
 * @throws when the zip is truncated or a checksum differs, the pickle names a module that runs programs, tensors stand only in
 *   objects of unknown classes, a tensor does not fit its storage, or all together are many times the file
 */
export async function openPytorch(source: ByteSource, allowed: readonly string[]): Promise<TensorFile> {
  const entries = await readZipDirectory(source);
  const pickle = [...entries.keys()].find((name) => name.endsWith('/data.pkl') || name === 'data.pkl');
  if (pickle === undefined) fail(source, "'data.pkl'", `${entries.size} other files; write it with torch.save`);
  const folder = pickle.slice(0, -'data.pkl'.length);
  const order = entries.get(`${folder}byteorder`);
  if (order && new TextDecoder().decode(await readZipEntry(source, order)) !== 'little')
    fail(source, 'little-endian data', 'big');

  const root = readPickle(await readZipEntry(source, entries.get(pickle)!), source.name, {
    knows: (name) =>
      functions.includes(name) ||
      Object.hasOwn(storages, name) ||
      [...modules, ...allowed].some((start) => name.startsWith(start)),
    call: (name, inputs) => call(source, name, inputs),
    persistent: (id) => storageOf(source, id, (key) => entries.get(`${folder}data/${key}`)),
  });
  const found = collect(source, root);
  checkFound(source, found);
  const inOrder = [...found.tensors].sort(
    ([, a], [, b]) => a.storage.entry.header - b.storage.entry.header || a.offset - b.offset,
  );
  const readEntry = zipReader(source, [...new Set(inOrder.map(([, { storage }]) => storage.entry))]);
  let last: { entry: ZipEntry; bytes: Uint8Array } | undefined; // tensors of one storage are read one after another
  const storageBytes = async (entry: ZipEntry) => {
    if (last?.entry !== entry) last = { entry, bytes: await readEntry(entry) };
    return last.bytes;
  };
  return {
    name: source.name,
    tensors: Object.fromEntries(inOrder.map(([name, { storage, shape }]) => [name, { dtype: storage.dtype, shape }])),
    metadata: {},
    attributes: Object.fromEntries(found.attributes),
    opaque: [...found.opaque].map(([name, { name: type }]) => (name === '' ? type : `${name}: ${type}`)),
    async read(name) {
      const tensor = found.tensors.get(name);
      if (!tensor) return fail(source, `tensor '${name}'`, 'none');
      return readTensor(source, { name, tensor, bytes: await storageBytes(tensor.storage.entry) });
    },
    json: async () => undefined,
    close: () => source.close(),
  };
}

function call(source: ByteSource, name: string, inputs: readonly unknown[]): unknown {
  switch (name) {
    case 'collections.OrderedDict':
      return new Map();
    case '__builtin__.set':
    case 'builtins.set':
      return new Set(Array.isArray(inputs[0]) ? inputs[0] : []);
    case 'torch.Size':
      return inputs[0];
    case 'torch.device':
      return inputs
        .slice(0, 2)
        .map((part) => (typeof part === 'object' ? describe(part) : String(part)))
        .join(':');
    case 'torch._utils._rebuild_tensor_v2':
      return rebuildTensor(source, inputs);
    case 'torch._utils._rebuild_parameter':
      return inputs[0];
    default:
      return fail(
        source,
        'calls of PyTorch tensors only',
        `one of '${name}', which was not made; do not trust this file`,
      );
  }
}

function storageOf(source: ByteSource, id: unknown, find: (key: string) => ZipEntry | undefined): Storage {
  const [kind, type, key, , length] = Array.isArray(id) ? id : [];
  const dtype = isGlobal(type) ? storages[type.name] : undefined;
  if (kind !== 'storage' || !dtype || !isSize(length))
    return fail(source, 'a storage of floats or whole numbers', describe(type));
  if (typeof key !== 'string') return fail(source, 'the name of a storage', describe(key));
  const entry = find(key);
  if (!entry) return fail(source, `storage '${key}'`, 'none; damaged?');
  if (entry.size !== length * elementBytes[dtype]) {
    fail(source, `${length * elementBytes[dtype]} bytes in storage '${key}' (${dtype} [${length}])`, `${entry.size}`);
  }
  return { dtype, entry, length };
}

function rebuildTensor(source: ByteSource, inputs: readonly unknown[]): StoredTensor {
  const [storage, offset, shape, strides] = inputs as [Storage, unknown, unknown, unknown];
  if (
    !isStorage(storage) ||
    !isSize(offset) ||
    !isSizes(shape) ||
    !isSizes(strides) ||
    shape.length !== strides.length
  ) {
    const got = inputs.slice(0, 4).map(describe).join(', ');
    return fail(source, 'a tensor as storage, offset, sizes and strides', got);
  }
  const count = elementsOf(shape);
  const last = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, offset);
  if (count > 0 && last >= storage.length) {
    fail(source, `a tensor within its storage of ${storage.length}`, `[${shape.join(', ')}] from ${offset} on`);
  }
  return { kind: 'tensor', storage, offset, shape, strides };
}

/** One tensor's values, made contiguous. @param bytes of its whole storage */
function readTensor(
  source: ByteSource,
  { name, tensor, bytes }: { name: string; tensor: StoredTensor; bytes: Uint8Array },
): RawTensor {
  const { storage, offset, shape, strides } = tensor;
  const { dtype } = storage;
  const width = elementBytes[dtype];
  const last = elementsOf(shape) === 0 ? -1 : shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 0);
  const start = offset * width;
  const end = start + (last + 1) * width;
  const flat = decode({ name, dtype, shape: [last + 1], start, end }, bytes, source.name);
  return { dtype, shape, data: isContiguous(shape, strides) ? flat.data : gather(flat.data, shape, strides) };
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

/** Row-major values of a strided view. */
function gather(data: RawTensor['data'], shape: readonly number[], strides: readonly number[]): RawTensor['data'] {
  const count = elementsOf(shape);
  const result = emptyLike(data, count);
  const index = shape.map(() => 0);
  let from = 0;
  for (let i = 0; i < count; i++) {
    result[i] = data[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= shape[axis]! * strides[axis]!;
      index[axis] = 0;
    }
  }
  return result;
}

function emptyLike(data: RawTensor['data'], length: number): RawTensor['data'] {
  if (data instanceof Float32Array) return new Float32Array(length);
  return data instanceof Int32Array ? new Int32Array(length) : new Uint8Array(length);
}

/** What lies below the root of a pickle, by dotted names. */
interface Found {
  readonly tensors: Map<string, StoredTensor>;
  readonly attributes: Map<string, Attribute>;
  readonly opaque: Map<string, Opaque>;
}

/** Tensors, plain fields and objects of unknown classes below a value, by dotted names. */
function collect(source: ByteSource, root: unknown): Found {
  const found: Found = { tensors: new Map(), attributes: new Map(), opaque: new Map() };
  const open = new Set<unknown>(); // what contains the value at hand: objects may contain themselves
  let names = 0;
  const visit = (value: unknown, name: string) => {
    if (++names > mostNames) fail(source, `at most ${mostNames} names`, 'more; dicts that hold one another?');
    if (isTensor(value)) found.tensors.set(name, value);
    else if (isOpaque(value)) found.opaque.set(name, value);
    else if (typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean')
      found.attributes.set(name, value);
    const fields = value instanceof Map ? value : isInstance(value) ? value.state : undefined;
    if (!(fields instanceof Map) || open.has(fields)) return;
    if (open.size === deepest) fail(source, `modules within ${deepest} others at most`, 'more');
    open.add(fields);
    for (const [key, field] of fields) {
      if (typeof key === 'object' && key !== null) continue; // a tuple or an object names nothing
      const inner = isInstance(value) && ['_parameters', '_buffers', '_modules'].includes(String(key));
      visit(field, inner ? name : name === '' ? String(key) : `${name}.${String(key)}`);
    }
    open.delete(fields);
  };
  visit(root, '');
  return found;
}

/** @throws when all tensors are in objects of unknown classes, or together they are many times the file */
function checkFound(source: ByteSource, { tensors, opaque }: Found): void {
  if (tensors.size === 0) {
    for (const { name, parts } of opaque.values()) {
      if (holdsTensor(parts))
        fail(
          source,
          "tensors in dicts or PyTorch's modules",
          `'${name}', which was not called; allow it if you trust it`,
        );
    }
  }
  let bytes = 0;
  for (const { storage, shape } of tensors.values()) bytes += elementsOf(shape) * elementBytes[storage.dtype];
  const most = mostRepeats * source.size + smallExpansion;
  if (bytes > most)
    fail(source, `tensors of at most ${most} bytes, ${mostRepeats} times the file`, `${bytes}; repeated?`);
}

/** Whether a tensor is somewhere below, as far as `mostNames` values are looked at. */
function holdsTensor(parts: readonly unknown[]): boolean {
  const seen = new Set<unknown>();
  const waiting: unknown[] = [...parts.slice(0, mostNames)];
  while (waiting.length > 0 && seen.size < mostNames) {
    const value = waiting.pop();
    if (isTensor(value) || isStorage(value)) return true;
    if (typeof value !== 'object' || value === null || seen.has(value)) continue;
    seen.add(value);
    const inner = value instanceof Map ? value.values() : Array.isArray(value) ? value : [];
    for (const part of inner) if (waiting.length < mostNames) waiting.push(part);
    if (isInstance(value)) waiting.push(value.state);
    if (isOpaque(value)) waiting.push(...value.parts.slice(0, 1000));
  }
  return false;
}

function isTensor(value: unknown): value is StoredTensor {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'tensor';
}

function isStorage(value: unknown): value is Storage {
  return typeof value === 'object' && value !== null && 'entry' in value;
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= mostAxes && value.every(isSize);
}

function fail(source: ByteSource, expected: string, got: string): never {
  throw new Error(printable(`openPytorch: expected ${expected} in ${source.name}, got ${got}`));
}
