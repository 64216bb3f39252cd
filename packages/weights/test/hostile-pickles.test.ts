/** Files made to hang a reader, to fill its memory, or to be read wrongly: each is refused in one line, at once. */
import { crc32 } from 'node:zlib';
import { expect, test } from 'vitest';
import { crc32ByTables, crc32 as ours } from '../src/formats/crc32.ts';
import { openTensors } from '../src/open-tensors.ts';
import { call, instance, named, type Python, pickleOf, type Raw, tensorOf, torchFile, zipOf } from './pytorch-files.ts';

const values = Float32Array.of(1, 2, 3, 4, 5, 6);
const map = (fields: Record<string, Python>) => new Map(Object.entries(fields));
const raw = (...parts: (number | string | readonly number[])[]) => ({
  opcodes: parts.flatMap((part) =>
    typeof part === 'number' ? [part] : [...(typeof part === 'string' ? Buffer.from(part) : part)],
  ),
});
const fileOf = (value: Python, storages: Record<string, ArrayBufferView> = { 0: values }) =>
  torchFile(pickleOf(value), storages);
/** Opens, expecting an error; @returns its message, after a check of its form and of the processor time it took */
async function refusal(bytes: Uint8Array): Promise<string> {
  const start = process.cpuUsage();
  const error: Error = await openTensors(bytes).then(
    () => expect.unreachable(),
    (reason) => reason,
  );
  const { user, system } = process.cpuUsage(start); // a busy machine makes seconds of what is not, but not of these
  expect((user + system) / 1e6).toBeLessThan(2);
  expect(error.message).toMatch(/^\w+: expected .*, got .*$/);
  expect(error.message.length).toBeLessThan(2500);
  expect(error.message).not.toMatch(/undefined|Invalid typed array length|call stack|Invalid string length/);
  return error.message;
}

/** A tuple of a billion leaves: thirty times the pair of what came before. */
const billion = raw('N', Array.from({ length: 30 }, () => [0x32, 0x86]).flat());
/** Tuples of one within one another. */
const deep = raw('N', new Array(100_000).fill(0x85));
const dict = 0x7d; // the opcodes by their names in Python's pickletools
const [put, get, setItem, short, none, stackGlobal, memoize] = [0x71, 0x68, 0x73, 0x8c, 0x4e, 0x93, 0x94];
/** Two entries a level, both the one dict of the level below: 2^30 ways down. */
const shared = raw(
  [dict, put, 0],
  Array.from({ length: 30 }, (_, i) => [
    ...[dict, put, i + 1],
    ...[short, 1, 97, get, i, setItem], // 'a'
    ...[short, 1, 98, get, i, setItem], // 'b'
  ]).flat(),
);
/** An id of a storage whose name is a tuple. */
const oddStorage = raw('((X\x07\0\0\0storage', named('torch', 'FloatStorage').opcodes, billion.opcodes, 'NK\x06tQt');
const oneList = raw('](', new Array(100_000).fill(none), [0x65, put, 0]);
const setOfIt = [...named('builtins', 'set').opcodes, get, 0, 0x85, 0x52, 0x30];
const longName = raw('X', [0xe8, 3, 0, 0], 'a'.repeat(1000), [0x32, stackGlobal]);
const manyViews = Array.from({ length: 60 }, (_, i) => [`t${i}`, tensorOf('0', [250_000])] as const);

const hostile: [string, Uint8Array, string][] = [
  ['dicts that share dicts, 30 levels', fileOf(shared), 'at most 200000 names in the given bytes, got more'],
  ['a shared tuple as the name of a storage', fileOf(oddStorage), 'the name of a storage'],
  [
    'a shared tuple as the name of a class',
    fileOf(raw(billion.opcodes, billion.opcodes, stackGlobal)),
    'a module and a name as text',
  ],
  [
    'a deep tuple as the name of a class',
    fileOf(raw(deep.opcodes, deep.opcodes, stackGlobal)),
    'a module and a name as text',
  ],
  [
    'a deep tuple as a tensor',
    fileOf(call('torch._utils', '_rebuild_tensor_v2', [deep, deep, deep, deep])),
    'a tensor as storage',
  ],
  ['millions of dicts', fileOf(raw(new Array(3_000_000).fill(dict))), 'at most 500000 dicts, lists and objects'],
  ['millions of values', fileOf(raw(new Array(3_000_000).fill(none))), 'at most 1000000 values on the stack'],
  ['millions of memos', fileOf(raw('N', new Array(1_500_000).fill(memoize))), 'at most 1000000 values in the memo'],
  ['sets of one list', fileOf(raw(oneList.opcodes, new Array(1000).fill(setOfIt).flat())), 'elements in sets'],
  ['a very long name of a class', fileOf(longName), 'names of at most 1000 letters'],
  ['a tensor of a hundred axes', fileOf(tensorOf('0', new Array(100).fill(1), { length: 6 })), 'a tensor as storage'],
  [
    'many tensors of one storage',
    fileOf(new Map<string, Python>(manyViews), { 0: new Float32Array(250_000) }),
    '4 times the file',
  ],
  [
    'a program beside tensors',
    fileOf(map({ a: tensorOf('0', [6]), b: call('subprocess', 'Popen', ['true']) })),
    "got 'subprocess.Popen', which was not called; do not trust this file",
  ],
  ['getattr', fileOf(call('builtins', 'getattr', ['a', 'b'])), "got 'builtins.getattr', which was not called"],
  ['a name with control characters', fileOf(call('os.\u001b[2J', 'x', [1])), "'os.\\x1b[2J.x'"],
  ['a key without a value', fileOf(raw('}(Nu')), 'a value for every key'],
];
test.each(hostile)('%s', async (_, bytes, message) => {
  expect(await refusal(bytes)).toContain(message);
});

test('the inputs of a device are described, not written out', async () => {
  const file = await openTensors(fileOf(map({ a: tensorOf('0', [6]), where: call('torch', 'device', [billion, 1]) })));
  expect(file.attributes).toEqual({ where: 'a list of 2:1' });
});

test('a shared tuple as a key of a dict names nothing, at once', async () => {
  const tensor = tensorOf('0', [6]);
  const dictOf = (...entries: Raw[][]) =>
    raw(
      [dict],
      entries.flatMap((pair) => [...pair.flatMap(({ opcodes }) => opcodes), setItem]),
    );
  const start = process.cpuUsage();
  const file = await openTensors(fileOf(dictOf([billion, tensor], [raw([short, 1, 97]), tensor])));
  const { user, system } = process.cpuUsage(start);
  expect((user + system) / 1e6).toBeLessThan(2);
  expect(Object.keys(file.tensors)).toEqual(['a']);
});

test('what stands beside a state dict does no harm, and is listed', async () => {
  const namespace = instance('argparse', 'Namespace', map({ lr: 3 }));
  const path = call('pathlib', 'PosixPath', ['runs', 'a']);
  const date = call('datetime', 'datetime', [raw('C', 10, [7, 234, 11, 27, 0, 0, 0, 0, 0, 0])]);
  const dtype = call('numpy', 'dtype', ['f8', false, true]);
  const scalar = call('numpy._core.multiarray', 'scalar', [dtype, raw('C', 8, [0, 0, 0, 0, 0, 0, 240, 63])]);
  const array = raw(call('numpy.core.multiarray', '_reconstruct', [named('numpy', 'ndarray'), [0]]).opcodes, 'Nb');
  const counts = raw(
    call('collections', 'defaultdict', [named('builtins', 'int')]).opcodes,
    '(',
    [short, 1, 97],
    'K\x02u',
  );
  const file = await openTensors(
    fileOf(map({ model: map({ w: tensorOf('0', [2, 3]) }), args: namespace, path, date, best: scalar, array, counts })),
  );
  expect(Object.keys(file.tensors)).toEqual(['model.w']);
  expect((await file.read('model.w')).data).toEqual(values);
  expect(file.opaque).toEqual([
    'args: argparse.Namespace',
    'path: pathlib.PosixPath',
    'date: datetime.datetime',
    'best: numpy._core.multiarray.scalar',
    'array: numpy.core.multiarray._reconstruct',
    'counts: collections.defaultdict',
  ]);
});

test('overlapping and broadcast strides are read as they say', async () => {
  const file = await openTensors(
    fileOf(
      map({
        rows: tensorOf('0', [4, 4], { length: 6, strides: [0, 1] }),
        columns: tensorOf('0', [2, 3], { length: 6, strides: [1, 0] }),
        windows: tensorOf('0', [4, 3], { length: 6, strides: [1, 1] }),
      }),
    ),
  );
  const read = async (name: string) => Array.from((await file.read(name)).data);
  expect(await read('rows')).toEqual([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]);
  expect(await read('columns')).toEqual([1, 1, 1, 2, 2, 2]);
  expect(await read('windows')).toEqual([1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 6]);
});

test('a flipped bit in a storage is refused when it is read; a zip without checksums is read', async () => {
  const whole = fileOf(map({ a: tensorOf('0', [6]) }));
  const at = Buffer.from(whole).indexOf(Buffer.from(values.buffer));
  const damaged = whole.slice();
  damaged[at + 5]! ^= 4;
  const file = await openTensors(damaged);
  await expect(file.read('a')).rejects.toThrow(
    /^readZip: expected the checksum [0-9a-f]{8} of 'model\/data\/0' in the given bytes, got [0-9a-f]{8}; damaged/,
  );
  const bare = zipOf(
    { 'a/data.pkl': pickleOf(tensorOf('0', [6])), 'a/data/0': new Uint8Array(values.buffer) },
    { crc: false },
  );
  expect((await (await openTensors(bare)).read('')).data).toEqual(values);
});

test('zips that contradict themselves', async () => {
  const files = { 'a/data.pkl': pickleOf(tensorOf('0', [6])), 'a/data/0': new Uint8Array(values.buffer) };
  expect(await refusal(zipOf(files, { flags: 1 }))).toContain(
    "'a/data.pkl' readable in the given bytes, got it encrypted",
  );
  const change = (edit: (bytes: Buffer, local: number, directory: number) => void) => {
    const bytes = Buffer.from(zipOf(files));
    const name = Buffer.from('a/data/0');
    edit(bytes, bytes.indexOf(name) - 30, bytes.lastIndexOf(name) - 46);
    return new Uint8Array(bytes);
  };
  const read = async (bytes: Uint8Array) =>
    (await openTensors(bytes)).read('').then(
      () => 'read',
      (error: Error) => error.message,
    );
  expect(await read(change((bytes, local) => bytes.writeUInt16LE(8, local + 8)))).toContain(
    'a local header that differs',
  );
  expect(await read(change((bytes, local) => bytes.writeUInt32LE(12, local + 22)))).toContain(
    'a local header that differs',
  );
  expect(await read(change((bytes, local) => bytes.writeUInt16LE(99, local + 28)))).toContain('to end before');
  expect(await refusal(change((bytes, _, directory) => bytes.writeUInt32LE(4, directory + 42)))).toContain('damaged?');
  expect(await refusal(change((bytes, _, directory) => bytes.write('a/data.p', directory + 46)))).toMatch(/got .*/);
});

test('CRC-32 by tables is zlib’s, at every length', () => {
  for (const length of [0, 1, 7, 8, 9, 15, 64, 1001]) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 13);
    expect(crc32ByTables(bytes)).toBe(crc32(bytes));
    expect(ours(bytes)).toBe(crc32(bytes));
  }
});
