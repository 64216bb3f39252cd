import { expect, test } from 'vitest';
import { checkAttention } from '../../../test/attention-float64.ts';
import { asGpu, backendWithOps } from '../../../test/ops-testing.ts';
import { attentionShape, attentionShapes, shapeName } from './attention-choice.ts';

const backend = backendWithOps();
const withSubgroups = { features: ['subgroups', 'shader-f16'], leastSubgroup: 8 };

// one row to eight lanes, as on Intel: lavapipe compiles each kernel for seconds
test.each([
  { G: 1, Nq: 196, D: 64, grid: [14, 14] as const, bias: true },
  { G: 2, Nq: 25, D: 80, grid: [5, 5] as const, bias: true },
])('wide heads: %j', (shape) => asGpu(backend(), () => checkAttention(shape), { vendor: 'intel' }));

const narrow = [
  { G: 3, Nq: 64, D: 14, grid: [8, 8] as const, bias: true }, // a pruned head width: no vec4 rows, two lanes
  { G: 2, Nq: 5, D: 8, grid: [17, 3] as const, bias: true }, // rows of keys that are no multiple of a step
  { G: 1, Nq: 3, D: 16, grid: [2, 131] as const, bias: true }, // rows of keys longer than a tile
  { G: 1, Nq: 149, D: 16, grid: [97, 1] as const, bias: false }, // primes
];
test.each(narrow.filter(({ D, bias }) => D !== 16 || !bias))('two rows an invocation: %j', (shape) =>
  asGpu(backend(), () => checkAttention(shape)),
);
test.each(narrow.slice(1, 2))('half precision: %j', (shape) =>
  asGpu(backend(), () => checkAttention(shape, { inHalves: true })),
);
test.each(narrow.slice(2, 3))('three rows an invocation, as on NVIDIA: %j', (shape) =>
  asGpu(backend(), () => checkAttention(shape), { vendor: 'nvidia' }),
);
test('rows that are read without workgroup memory, as on AMD', () =>
  asGpu(backend(), () => checkAttention({ G: 1, Nq: 149, D: 8, grid: [7, 9], bias: true }), { vendor: 'amd' }));
test.each(narrow.slice(1, 2))('without subgroups: %j', (shape) =>
  asGpu(backend(), () => checkAttention(shape), { features: ['shader-f16'] }),
);
test('with the 8 storage buffers that every adapter binds', () =>
  asGpu(backend(), () => checkAttention({ G: 1, Nq: 3, D: 16, grid: [2, 131], bias: true }), { storageBuffers: 8 }));
test('a CPU adapter that binds too few for its panels takes the kernels for GPUs', () =>
  asGpu(backend(), () => checkAttention({ G: 1, Nq: 3, D: 16, grid: [2, 131], bias: true }), {
    ...{ isCpu: true, subgroupSize: backend().facts.subgroupSize, storageBuffers: 8 },
  }));

test('windows take workgroups that leave few rows empty', () => {
  const sizes = { Nq: 196, Nk: 196, D: 64, bias: true, kw: 14 };
  for (const kind of ['forward', 'query', 'key'] as const) {
    for (const vendor of ['nvidia', 'intel', 'apple']) {
      const { threads, lanes, rows } = attentionShape(kind, { ...withSubgroups, vendor }, sizes);
      const each = (threads / lanes) * rows;
      expect(Math.ceil(196 / each) * each, `${vendor} ${kind}`).toBeLessThanOrEqual(240);
    }
  }
});

test('what tune tries: first the shape that is taken untuned, then others that fit the registers', () => {
  const names = (kind: 'forward' | 'query' | 'key', vendor: string, D: number) =>
    attentionShapes(kind, { ...withSubgroups, vendor }, { Nq: 4096, Nk: 4096, D, bias: true, kw: 64 }).map(shapeName);
  const uniform = 'uniform loads';
  expect(names('forward', 'nvidia', 64)).toEqual(['3 rows to 4 lanes, 128 threads', uniform, ...twoAndOne]);
  expect(names('forward', 'amd', 64)).toEqual([
    uniform,
    ...['2', '3', '1'].map((n) => `${n} rows to 4 lanes, 128 threads`),
  ]);
  expect(names('query', 'nvidia', 64)).toEqual(['3', '2', '1', '4'].map((n) => `${n} rows to 4 lanes, 128 threads`));
  expect(names('key', 'amd', 80)).toEqual(twoAndOne);
  for (const kind of ['forward', 'query', 'key'] as const)
    for (const D of [14, 32, 48, 64, 80, 128])
      expect(new Set(names(kind, 'intel', D)).size).toBe(names(kind, 'intel', D).length);
});
const twoAndOne = ['2 rows to 4 lanes, 128 threads', '1 rows to 4 lanes, 128 threads'];

test('shapes follow the vendor and the head width', () => {
  const first = (kind: 'forward' | 'query' | 'key', vendor: string, D: number) =>
    attentionShape(kind, { ...withSubgroups, vendor }, { Nq: 4096, Nk: 4096, D, bias: true, kw: 64 });
  expect(first('forward', 'amd', 64)).toMatchObject({ lanes: 1, tiles: false });
  expect(first('forward', 'nvidia', 64)).toMatchObject({ lanes: 4, rows: 3, owned: true });
  expect(first('key', 'nvidia', 80).rows).toBe(2); // three spill
  expect(first('query', 'intel', 64)).toMatchObject({ lanes: 8, rows: 1 });
  expect(first('query', 'intel', 16)).toMatchObject({ lanes: 4, rows: 1 });
  expect(first('query', 'amd', 80)).toMatchObject({ lanes: 4, rows: 2, step: 2 });
  for (const kind of ['forward', 'query', 'key'] as const) {
    const bare = { vendor: 'amd', features: [], leastSubgroup: 0 };
    expect(attentionShape(kind, bare, { Nq: 9, Nk: 9, D: 64, bias: false, kw: 1 }).lanes).toBe(1);
  }
});
