import { expect, test } from 'vitest';
import { call, instance, type Python, pickleOf, tensorOf, torchFile, zipOf } from '../../test/pytorch-files.ts';
import { openTensors } from '../open-tensors.ts';

const values = Float32Array.of(1, 2, 3, 4, 5, 6);
const map = (fields: Record<string, Python>) => new Map(Object.entries(fields));
const orderedDict = (fields: Record<string, Python>) => call('collections', 'OrderedDict', [map(fields)]);
const fileOf = (value: Python, storages: Record<string, ArrayBufferView> = { 0: values }) =>
  torchFile(pickleOf(value), storages);

test('a state dict: contiguous, transposed, at an offset, sharing a storage, half and bfloat16, whole numbers', async () => {
  const half = Uint16Array.of(0x3c00, 0xc000); // 1, -2
  const file = await openTensors(
    fileOf(
      map({
        plain: tensorOf('0', [2, 3]),
        transposed: tensorOf('0', [3, 2], { strides: [1, 3] }),
        row: tensorOf('0', [3], { length: 6, offset: 3 }),
        column: tensorOf('0', [2, 1], { length: 6, offset: 2, strides: [3, 1] }),
        half: tensorOf('1', [2], { type: 'HalfStorage' }),
        brain: tensorOf('2', [1], { type: 'BFloat16Storage' }),
        step: tensorOf('3', [], { type: 'LongStorage' }),
        none: tensorOf('4', [0, 3]),
      }),
      { 0: values, 1: half, 2: Uint16Array.of(0x3f80), 3: BigInt64Array.of(7n), 4: new Float32Array(0) },
    ),
  );
  const read = async (name: string) => Array.from((await file.read(name)).data);
  expect(file.tensors.plain).toEqual({ dtype: 'F32', shape: [2, 3] });
  expect(await read('plain')).toEqual([1, 2, 3, 4, 5, 6]);
  expect(await read('transposed')).toEqual([1, 4, 2, 5, 3, 6]);
  expect(await read('row')).toEqual([4, 5, 6]);
  expect(await read('column')).toEqual([3, 6]);
  expect(await read('half')).toEqual([1, -2]);
  expect(await read('brain')).toEqual([1]);
  expect(file.tensors.step).toEqual({ dtype: 'I64', shape: [] });
  expect(await read('step')).toEqual([7]);
  expect(await read('none')).toEqual([]);
  await expect(file.read('other')).rejects.toThrow("openPytorch: expected tensor 'other' in the given bytes, got none");
});

test('a whole module: parameters, buffers and children by dotted names, fields as attributes, no code', async () => {
  const parameter = (tensor: Python) => call('torch._utils', '_rebuild_parameter', [tensor, true, null]);
  const child = instance(
    'torch.nn.modules.linear',
    'Linear',
    map({ in_features: 3, _parameters: map({ weight: parameter(tensorOf('0', [2, 3])), bias: null }) }),
  );
  const parent = instance(
    'mine.models',
    'Model',
    map({
      training: false,
      device: call('torch', 'device', ['cuda', 0]),
      _buffers: map({ mean: tensorOf('0', [6]) }),
      _non_persistent_buffers_set: call('__builtin__', 'set', [['mean']]),
      _modules: map({ lin: child }),
    }),
  );
  const file = await openTensors(fileOf(parent), { allowed: ['mine.models.'] });
  expect(Object.keys(file.tensors).sort()).toEqual(['lin.weight', 'mean']);
  expect(file.attributes).toEqual({ training: false, device: 'cuda:0', 'lin.in_features': 3 });
  expect((await file.read('lin.weight')).data).toEqual(values);
  await expect(openTensors(fileOf(parent))).rejects.toThrow("got 'mine.models.Model', which was not called");
});

const refused: [string, Uint8Array, string][] = [
  ['a callable outside of the list', fileOf(call('os', 'system', ['touch /tmp/x'])), "got 'os.system', which was not"],
  ['eval', fileOf(map({ a: call('builtins', 'eval', ['1']) })), "got 'builtins.eval', which was not called"],
  [
    'tensors in a class beside allowed ones',
    fileOf(call('torch.nn', 'init', [tensorOf('0', [6])])),
    "got 'torch.nn.init', which was not called; allow it if you trust it",
  ],
  [
    'tensors in a class from the prototype',
    fileOf(instance('constructor', 'constructor', map({ a: tensorOf('0', [6]) }))),
    "got 'constructor.constructor', which was not called",
  ],
  ['the call of a class', fileOf(call('torch.nn.modules.linear', 'Linear', [3, 2])), 'which was not made'],
  [
    'a call of a value',
    fileOf({ opcodes: [0x4e, 0x29, 0x52] }),
    'a call of a named function in the given bytes, got null',
  ],
  ['an empty stack', fileOf({ opcodes: [0x52] }), 'a value on the stack in the given bytes, got none'],
  ['an unknown opcode', fileOf({ opcodes: [0xff] }), 'got 0xff at 2; damaged'],
  [
    'a pickle without an end',
    zipOf({ 'a/data.pkl': Uint8Array.of(0x80, 2, 0x58, 9, 0, 0, 0, 65) }),
    'got 1; truncated?',
  ],
  ['a tensor beyond its storage', fileOf(map({ a: tensorOf('0', [6], { offset: 1 }) })), 'got [6] from 1 on'],
  [
    'a huge tensor of a small storage',
    fileOf(tensorOf('0', [9999, 9999], { length: 6, strides: [0, 0] })),
    '4 times the file in the given bytes, got 399920004; repeated?',
  ],
  ['a negative offset', fileOf(tensorOf('0', [6], { offset: -1 })), 'as storage, offset, sizes and strides in'],
  [
    'a storage of another size',
    fileOf(tensorOf('0', [7])),
    "28 bytes in storage '0' (F32 [7]) in the given bytes, got 24",
  ],
  ['a missing storage', fileOf(tensorOf('1', [6])), "storage '1' in the given bytes, got none"],
  ['complex numbers', fileOf(tensorOf('0', [3], { type: 'ComplexFloatStorage' })), "got 'torch.ComplexFloatStorage'"],
  ['a zip without a pickle', zipOf({ a: Uint8Array.of(1) }), "'data.pkl' in the given bytes, got 1 other"],
  [
    'a compressed zip',
    zipOf({ 'a/data.pkl': pickleOf(1) }, { method: 8 }),
    "'a/data.pkl' stored in the given bytes, got it",
  ],
  ['big-endian data', zipOf({ 'a/data.pkl': pickleOf(1), 'a/byteorder': new TextEncoder().encode('big') }), 'got big'],
  [
    'a bare pickle',
    new Uint8Array(2000).fill(0x80, 0, 1).fill(2, 1, 2),
    'got a bare pickle; save it with PyTorch >= 1.6',
  ],
];
test.each(refused)('%s is refused in one line', async (_, bytes, message) => {
  const error: Error = await openTensors(bytes).then(
    () => expect.unreachable(),
    (reason) => reason,
  );
  expect(error.message).toContain(message);
  expect(error.message).toMatch(/^\w+: expected .*, got .*$/);
});

test('a file cut anywhere is refused', async () => {
  const whole = fileOf(orderedDict({ a: tensorOf('0', [2, 3]) }));
  for (let length = 0; length < whole.length; length++) {
    await expect(openTensors(whole.subarray(0, length))).rejects.toThrow(/^\w+: expected .*, got .*$/);
  }
});

test('a ZIP64 file is read, and refused wherever it is cut', async () => {
  const bytes = new Uint8Array(values.buffer);
  const whole = zipOf({ 'a/data.pkl': pickleOf(tensorOf('0', [6])), 'a/data/0': bytes }, { wide: true });
  const file = await openTensors(whole);
  expect((await file.read('')).data).toEqual(values);
  for (let length = 0; length < whole.length; length++) {
    await expect(openTensors(whole.subarray(0, length))).rejects.toThrow(/^\w+: expected .*, got .*$/);
  }
});

test('a file with any byte changed is read or refused in one line', async () => {
  const whole = fileOf(orderedDict({ a: tensorOf('0', [2, 3]) }));
  for (let at = 0; at < whole.length; at++) {
    const damaged = whole.slice();
    damaged[at]! ^= 0xff;
    const error: Error | undefined = await openTensors(damaged).then(
      () => undefined,
      (reason) => reason,
    );
    if (error) expect(error.message).toMatch(/^\w+: expected .*, got .*$/);
  }
});

test('modules that lie too deep in one another are refused', async () => {
  let value: Python = tensorOf('0', [6]);
  for (let depth = 0; depth < 200; depth++) value = map({ a: value });
  await expect(openTensors(fileOf(value))).rejects.toThrow('modules within 100 others at most');
});

test('an object that contains itself is read once', async () => {
  // }q\0 X'a' ... : a dict under its own key 'self', beside a tensor
  const self = [0x7d, 0x71, 0, 0x58, 4, 0, 0, 0, ...Buffer.from('self'), 0x68, 0, 0x73];
  const tensor = tensorOf('0', [6]).opcodes;
  const file = await openTensors(fileOf({ opcodes: [...self, 0x58, 1, 0, 0, 0, 97, ...tensor, 0x73] }));
  expect(Object.keys(file.tensors)).toEqual(['a']);
});
