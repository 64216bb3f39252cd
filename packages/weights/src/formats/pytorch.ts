import type { ByteSource } from '../sources/byte-source.ts';
import type { Attribute, TensorFile } from '../tensor-file.ts';
import { describe, isGlobal, isInstance, readPickle } from './pickle.ts';
import { decode, type RawTensor } from './safetensors.ts';
import { elementBytes } from './safetensors-header.ts';
import { readZipDirectory, type ZipEntry, zipDataStart } from './zip.ts';

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
 * @param allowed starts of class names that a whole module may have besides torch.nn's, like 'segment_anything.'
 * @throws when the zip is truncated, the pickle names anything outside of the list, or a tensor does not fit its storage
 */
export async function openPytorch(source: ByteSource, allowed: readonly string[]): Promise<TensorFile> {
  const entries = await readZipDirectory(source);
  const pickle = [...entries.keys()].find((name) => name.endsWith('/data.pkl') || name === 'data.pkl');
  if (pickle === undefined) fail(source, "'data.pkl'", `${entries.size} other files; write it with torch.save`);
  const folder = pickle.slice(0, -'data.pkl'.length);
  const readEntry = async (entry: ZipEntry) => {
    const start = await zipDataStart(source, entry);
    return source.read(start, start + entry.size);
  };
  const order = entries.get(`${folder}byteorder`);
  if (order && new TextDecoder().decode(await readEntry(order)) !== 'little') fail(source, 'little-endian data', 'big');

  const root = readPickle(await readEntry(entries.get(pickle)!), source.name, {
    allow: (name) =>
      functions.includes(name) ||
      Object.hasOwn(storages, name) ||
      [...modules, ...allowed].some((start) => name.startsWith(start)),
    call: (name, inputs) => call(source, name, inputs),
    persistent: (id) => storageOf(source, id, (key) => entries.get(`${folder}data/${key}`)),
  });
  const found = collect(source, root);
  const inOrder = [...found.tensors].sort(
    ([, a], [, b]) => a.storage.entry.header - b.storage.entry.header || a.offset - b.offset,
  );
  return {
    name: source.name,
    tensors: Object.fromEntries(inOrder.map(([name, { storage, shape }]) => [name, { dtype: storage.dtype, shape }])),
    metadata: {},
    attributes: Object.fromEntries(found.attributes),
    async read(name) {
      const tensor = found.tensors.get(name);
      if (!tensor) return fail(source, `tensor '${name}'`, 'none');
      return readTensor(source, name, tensor);
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
      return inputs.join(':');
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
  const entry = find(String(key));
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
    return fail(source, 'a tensor as storage, offset, sizes and strides', inputs.map(describe).join(', '));
  }
  const count = shape.reduce((product, size) => product * size, 1);
  const last = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, offset);
  if (count > storage.length || (count > 0 && last >= storage.length)) {
    fail(source, `a tensor within its storage of ${storage.length}`, `[${shape.join(', ')}] from ${offset} on`);
  }
  return { kind: 'tensor', storage, offset, shape, strides };
}

/** Reads one tensor's values, made contiguous. */
async function readTensor(source: ByteSource, name: string, tensor: StoredTensor): Promise<RawTensor> {
  const { storage, offset, shape, strides } = tensor;
  const { dtype } = storage;
  const width = elementBytes[dtype];
  const count = shape.reduce((product, size) => product * size, 1);
  const last = count === 0 ? -1 : shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 0);
  const start = (await zipDataStart(source, storage.entry)) + offset * width;
  const bytes = await source.read(start, start + (last + 1) * width);
  const flat = decode({ name, dtype, shape: [last + 1], start: 0, end: bytes.length }, bytes, source.name);
  return { dtype, shape, data: isContiguous(shape, strides) ? flat.data : gather(flat.data, shape, strides) };
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
  const count = shape.reduce((product, size) => product * size, 1);
  const result = data.slice(0, count);
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

/** Tensors and plain fields below a value, by dotted names. */
function collect(
  source: ByteSource,
  root: unknown,
): { tensors: Map<string, StoredTensor>; attributes: Map<string, Attribute> } {
  const tensors = new Map<string, StoredTensor>();
  const attributes = new Map<string, Attribute>();
  const open = new Set<unknown>(); // what contains the value at hand: objects may contain themselves
  const visit = (value: unknown, name: string) => {
    if (isTensor(value)) tensors.set(name, value);
    else if (typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean')
      attributes.set(name, value);
    const fields = value instanceof Map ? value : isInstance(value) ? value.state : undefined;
    if (!(fields instanceof Map) || open.has(fields)) return;
    if (open.size === deepest) fail(source, `modules within ${deepest} others at most`, 'more');
    open.add(fields);
    for (const [key, field] of fields) {
      const inner = isInstance(value) && ['_parameters', '_buffers', '_modules'].includes(String(key));
      visit(field, inner ? name : name === '' ? String(key) : `${name}.${key}`);
    }
    open.delete(fields);
  };
  visit(root, '');
  return { tensors, attributes };
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
  return Array.isArray(value) && value.every(isSize);
}

function fail(source: ByteSource, expected: string, got: string): never {
  throw new Error(`openPytorch: expected ${expected} in ${source.name}, got ${got}`);
}
