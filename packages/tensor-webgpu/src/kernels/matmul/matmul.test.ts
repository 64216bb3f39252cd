import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { expectSame, integers, openedBackend, spread } from '../../../test/both-backends.ts';
import type { WebgpuBackend } from '../../backend.ts';
import type { AdapterFacts } from '../../device/open-device.ts';
import { half, linear } from '../../ops/index.ts';
import { tuningOf } from '../../tuning/tunings.ts';
import { matmul } from './matmul.ts';
import { partsOfK } from './matmul.wgsl.ts';
import { candidates, programFor } from './matmul-choice.ts';
import { bestTile, partsForGpu } from './tile-choice.ts';

const opened = openedBackend();

interface Transposes {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

/** The shapes as stored. */
interface Product extends Transposes {
  readonly a: readonly number[];
  readonly b: readonly number[];
  /** Through `linear`, which takes B transposed. */
  readonly bias?: boolean;
  /** Which are in half precision; of both, so is the product. */
  readonly halves?: 'A' | 'B' | 'AB';
}

/** How many of x's matrices lie before the one that batch `index` of `outer` uses. */
function matricesBefore(index: number, outer: readonly number[], x: readonly number[]): number {
  let [before, step, rest] = [0, 1, index];
  for (let d = 1; d <= outer.length; d++) {
    const size = x.at(-2 - d) ?? 1;
    if (size > 1) before += (rest % outer.at(-d)!) * step;
    step *= size;
    rest = Math.floor(rest / outer.at(-d)!);
  }
  return before;
}

/** [..., M, K] x [..., K, N] in float64, broadcasting the leading dimensions; A, B and a bias [N] as flat values. */
function inFloat64({ a, b, transposeA, transposeB }: Product, [A, B, bias]: readonly ArrayLike<number>[]) {
  const [M, K] = transposeA ? [a.at(-1)!, a.at(-2)!] : [a.at(-2)!, a.at(-1)!];
  const N = b.at(transposeB ? -2 : -1)!;
  const outer = tf.broadcast_util.assertAndGetBroadcastShape(a.slice(0, -2), b.slice(0, -2));
  const [rowA, stepA] = transposeA ? [1, M] : [K, 1];
  const [columnB, stepB] = transposeB ? [K, 1] : [1, N];
  const values = Float64Array.from({ length: tf.util.sizeFromShape(outer) * M * N }, (_, i) => {
    const [batch, row, column] = [Math.floor(i / (M * N)), Math.floor(i / N) % M, i % N];
    const fromA = matricesBefore(batch, outer, a) * M * K + row * rowA;
    const fromB = matricesBefore(batch, outer, b) * K * N + column * columnB;
    let sum = bias?.[column] ?? 0;
    for (let k = 0; k < K; k++) sum += A![fromA + k * stepA]! * B![fromB + k * stepB]!;
    return sum;
  });
  return { shape: [...outer, M, N], values, K };
}

/** Multiplies spread values here and in float64, and expects nothing left over. */
async function expectProduct(product: Product): Promise<void> {
  const { transposeA, transposeB, halves = '' } = product;
  const [a, b] = [spread(product.a), spread(product.b, { seed: 2 })].map((x, i) => {
    if (!halves.includes('AB'[i]!)) return x;
    const rounded = half(x);
    x.dispose();
    return rounded;
  }) as [tf.Tensor, tf.Tensor];
  const bias = product.bias ? [spread([product.b.at(-2)!], { seed: 3 })] : [];
  const before = opened().numDataIds();
  const made = bias[0] ? linear(a, { weight: b, bias: bias[0] }) : tf.matMul(a, b, transposeA, transposeB);
  expect(opened().isHalf(made)).toBe(halves === 'AB');
  const got = await made.data();
  made.dispose();
  expect(opened().numDataIds()).toBe(before);
  const inputs = await Promise.all([a, b, ...bias].map((x) => x.data()));
  tf.dispose([a, b, ...bias]);
  const { shape, values, K } = inFloat64(product, inputs);
  expect(made.shape).toEqual(shape);
  expect(got.length).toBe(values.length);
  let [largest, worst] = [0, 0];
  values.forEach((want, i) => {
    const off = Math.abs(want - got[i]!);
    largest = Math.max(largest, Math.abs(want));
    worst = Math.max(worst, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off);
  });
  // each of K steps rounds by at most 2^-24 of a sum that is mostly below the largest, up or down at random; half precision once more:
  // by 2^-11, and where GPUs add up blocks of 16 products in it, each of which rounds a part of the sum so, by sqrt(16) times that
  const rounding = halves === 'AB' ? (opened().facts.isCpu ? 1 : 4) * 2 ** -11 : 0;
  expect(worst, JSON.stringify(product)).toBeLessThanOrEqual((2 ** -23 * Math.sqrt(K) + rounding) * largest);
}

const transposes: readonly (readonly [string, Transposes])[] = [
  ['neither transposed', {}],
  ['A transposed', { transposeA: true }],
  ['B transposed', { transposeB: true }],
  ['both transposed', { transposeA: true, transposeB: true }],
];

/** What `candidates` is asked for [batch, M, K] x [batch, K, N]. */
function specOf(
  [batch, M, K, N]: readonly number[],
  { transposeA = false, transposeB = false, halves }: Partial<Product>,
) {
  const sizes = { batch: batch!, M: M!, K: K!, N: N!, broadcastA: batch === 1, broadcastB: batch === 1 };
  const isHalf = halves !== undefined;
  const halfs = { halfA: isHalf, halfB: isHalf, halfC: isHalf };
  return { ...sizes, transposeA, transposeB, bias: false, residual: false, parts: 1, activation: undefined, ...halfs };
}

/** [M, K] x [K, N] by each program that can make it. */
async function expectByAll([M, K, N]: readonly [number, number, number], how: Omit<Product, 'a' | 'b'>): Promise<void> {
  const { transposeA, transposeB, halves } = how;
  const plain = !transposeA && !transposeB && !halves && M % 4 === 0;
  const winner = vi.spyOn(tuningOf(opened()).winners, 'get');
  const names = candidates(opened(), specOf([1, M, K, N], how)).map(({ name }) => name);
  expect(new Set(names).size).toBe(4);
  // lavapipe compiles the tiles of 64 and 128 sums a thread for seconds: once each
  const quick = names.filter((name) => plain || !/tile .* (8|16) x 8( in halves)?$/.test(name));
  for (const name of quick) {
    winner.mockReturnValue(name);
    const stop = opened().record();
    await expectProduct({ a: transposeA ? [K, M] : [M, K], b: transposeB ? [N, K] : [K, N], ...how });
    expect((await stop()).some(({ label }) => label.startsWith(`matmul-${name}`))).toBe(true);
  }
  winner.mockRestore();
}

describe.each(['chosen for the adapter', 'portable'])('the kernel %s', (which) => {
  if (which === 'portable') {
    let facts: AdapterFacts;
    beforeEach(() => {
      facts = opened().facts;
      Object.assign(opened(), { facts: { ...facts, isCpu: false } });
      vi.spyOn(opened(), 'run');
    });
    afterEach(() => {
      Object.assign(opened(), { facts });
      const labels = vi.mocked(opened().run).mock.calls.map(([{ shader }]) => shader.label);
      vi.restoreAllMocks();
      expect(labels.filter((label) => label.startsWith('matmul-tile'))).not.toEqual([]);
      expect(labels.filter((label) => label.startsWith('matmul-panel'))).toEqual([]);
    });
  }

  test.each(['A', 'B', 'AB'] as const)('half precision: %s', async (halves) => {
    const sizes = [
      [1, 1, 1],
      [63, 127, 63],
      [64, 128, 64],
      [65, 129, 65],
      [37, 97, 101],
      [4, 300, 8], // three blocks of K
      [3, 4099, 5], // parts of K
    ] as const;
    for (const [M, K, N] of sizes) await expectProduct({ a: [M, K], b: [K, N], halves });
    await expectProduct({ a: [5, 12, 16], b: [5, 16, 20], halves });
    await expectProduct({ a: [5, 2, 12, 16], b: [2, 16, 20], halves }); // B repeated
  });
  test('half precision: both transposed', async () => {
    await expectProduct({ a: [53, 37], b: [29, 53], transposeA: true, transposeB: true, halves: 'AB' });
    await expectProduct({ a: [52, 36], b: [68, 52], transposeA: true, transposeB: true, halves: 'AB' });
  });

  // a program's way to bring A does not depend on B's: both layouts of each are in these, and in those in half precision
  test.each([transposes[0]!, transposes[3]!])('%s: every program', async (_name, how) => {
    // one less than tiles, one more, and whole vectors beyond them
    for (const sizes of [
      [63, 31, 31],
      [129, 97, 65],
      [132, 168, 132],
    ] as const)
      await expectByAll(sizes, how);
  });
  test.each([transposes[1]!, transposes[2]!])('half precision, %s: every program', async (_name, how) => {
    await expectByAll([127, 17, 129], { ...how, halves: 'AB' });
    await expectByAll([132, 36, 132], { ...how, halves: 'AB' });
  });

  test.each(transposes)('%s: sizes beside those of vectors and tiles', async (_name, how) => {
    for (const [M, K, N] of [
      [37, 53, 29],
      [130, 53, 67],
      [36, 52, 68],
    ] as const) {
      const a = how.transposeA ? [K, M] : [M, K];
      const b = how.transposeB ? [N, K] : [K, N];
      await expectProduct({ a, b, ...how });
    }
  });

  test('a bias', async () => {
    for (const [M, K, N] of [
      [37, 53, 29],
      [36, 300, 28],
    ] as const)
      await expectProduct({ a: [M, K], b: [N, K], transposeB: true, bias: true });
  });

  test('broadcast batches', async () => {
    await expectProduct({ a: [2, 5, 53], b: [1, 53, 7] });
    await expectProduct({ a: [2, 5, 53], b: [53, 7] });
    await expectProduct({ a: [1, 5, 53], b: [2, 53, 7] });
    await expectProduct({ a: [2, 53, 5], b: [1, 53, 7], transposeA: true });
    await expectProduct({ a: [3, 1, 5, 53], b: [1, 4, 53, 7] });
    await expectProduct({ a: [4, 5, 53], b: [3, 1, 7, 53], transposeB: true });
    await expectProduct({ a: [2, 1, 3, 5, 53], b: [4, 1, 53, 7] });
  });

  test('more than 65,535 batches', async () => {
    await expectProduct({ a: [65_537, 2, 3], b: [65_537, 3, 2] });
    await expectProduct({ a: [65_537, 2, 3], b: [1, 3, 2] });
  });

  test('a sum over K in parts', async () => {
    expect(partsOfK({ M: 64, N: 64, K: 8192, batch: 1 })).toBeGreaterThan(1);
    await expectProduct({ a: [8192, 64], b: [8192, 64], transposeA: true });
    expect(partsOfK({ M: 33, N: 65, K: 4099, batch: 1 })).toBeGreaterThan(1);
    await expectProduct({ a: [33, 4099], b: [4099, 65] });
    expect(partsOfK({ M: 5, N: 7, K: 2051, batch: 3 })).toBeGreaterThan(1);
    await expectProduct({ a: [3, 5, 2051], b: [3, 2051, 7] });
  });
});

test('a large A^T, which panels turn first, has the columns that a smaller product has', async () => {
  const [a, b] = [spread([1024, 1024]), spread([1024, 1024], { seed: 2 })];
  const before = opened().memory().numBytesInGPU;
  const whole = tf.tidy(() => tf.slice(tf.matMul(a, b, true), [0, 1000], [1024, 24]));
  const part = tf.tidy(() => tf.matMul(a, tf.slice(b, [0, 1000], [1024, 24]), true));
  const [expected, actual] = [await part.data<'float32'>(), await whole.data<'float32'>()];
  const largest = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  expected.forEach((v, i) => {
    if (!(Math.abs(v - actual[i]!) <= 1e-5 * largest)) expect.fail(`at ${i}: expected ${v}, got ${actual[i]}`);
  });
  tf.dispose([whole, part]);
  expect(opened().memory().numBytesInGPU - before).toBeLessThanOrEqual(2 * 4 * 1024 * 1024); // a and b, uploaded by now
  tf.dispose([a, b]);
});

test('which program is taken untuned', () => {
  const first = (facts: Partial<AdapterFacts>, sizes: readonly number[]) =>
    candidates({ facts: { ...opened().facts, ...facts } } as WebgpuBackend, specOf(sizes, {}))[0]!.name;
  const gpu = (vendor: string, ...sizes: number[]) => first({ isCpu: false, subgroupSize: 32, vendor }, sizes);
  const halved = (facts: Partial<AdapterFacts>) =>
    candidates(
      { facts: { ...opened().facts, isCpu: false, subgroupSize: 32, ...facts } } as WebgpuBackend,
      specOf([1, 4096, 768, 768], { halves: 'AB' }),
    )[0]!.name;
  expect(halved({ vendor: 'nvidia' })).toBe('tile 64 x 128 by 16, 8 x 8 in halves');
  expect(halved({ vendor: 'amd', architecture: 'rdna-2' })).toMatch(/in halves$/);
  expect(halved({ vendor: 'amd', architecture: 'rdna-3' })).not.toMatch(/in halves/);
  expect(gpu('nvidia', 1, 4096, 768, 3072)).toBe('tile 128 x 128 by 16, 16 x 8');
  expect(gpu('amd', 1, 4096, 768, 768)).toBe('tile 128 x 128 by 16, 16 x 8');
  expect(gpu('intel', 1, 4096, 768, 768)).toBe('tile 64 x 64 by 4, 4 x 4'); // larger ones spill
  for (const vendor of ['nvidia', 'amd']) expect(gpu(vendor, 300, 196, 64, 196)).toBe('tile 100 x 100 by 8, 10 x 4');
  expect(gpu('nvidia', 300, 196, 64, 64)).toBe('tile 64 x 64 by 16, 8 x 4');
  expect(gpu('nvidia', 1, 7, 256, 65_536)).toBe('tile 32 x 32 by 16, 4 x 4');
  expect(first({ isCpu: true, subgroupSize: 4 }, [1, 512, 512, 512])).toMatch('tile 128 x 128'); // SwiftShader
  const lavapipe = (...sizes: number[]) => first({ isCpu: true, subgroupSize: 8 }, sizes);
  expect(lavapipe(300, 196, 64, 196)).toBe('panel 64 x 128');
  expect(lavapipe(1, 4096, 168, 168)).toBe('panel 96 x 64');
  expect(lavapipe(1, 4096, 768, 3072)).toBe('panel 128 x 64');
  expect(lavapipe(1, 4096, 256, 32)).toBe('panel 128 x 32');
});

test.each([
  { isCpu: false, vendor: 'nvidia' },
  { isCpu: false, vendor: 'intel' },
  { isCpu: true, subgroupSize: 4 },
  { isCpu: true, subgroupSize: 8 },
])('what was the fastest of a class is taken at each of its M, on %o', (facts) => {
  const backend = { facts: { ...opened().facts, ...facts } } as WebgpuBackend;
  const specs = [129, 160, 196, 250, 256].map((M) => specOf([1, M, 192, 160], {}));
  for (const { name } of specs.flatMap((spec) => candidates(backend, spec))) {
    tuningOf(backend).winners.set('[..256, 192] x [192, 160]', name);
    for (const spec of specs) expect(programFor(backend, spec).shader.label).toBe(`matmul-${name}`);
  }
});

test('sums are cut into parts where C alone would not fill a GPU', () => {
  expect(partsForGpu({ M: 768, N: 768, K: 4096, batch: 1 })).toBe(6); // a weight's gradient
  expect(partsForGpu({ M: 4096, N: 768, K: 768, batch: 1 })).toBe(1);
  expect(partsForGpu({ M: 512, N: 512, K: 512, batch: 1 })).toBe(2);
  for (const vendor of ['nvidia', 'amd'])
    expect(bestTile({ M: 512, N: 512, batch: 1, parts: 2 }, { vendor, isCpu: false }).rows).toBeGreaterThan(32);
  for (let K = 1; K < 9000; K += 61) {
    const parts = partsForGpu({ M: 5, N: 7, K, batch: 1 });
    expect((parts - 1) * Math.ceil(Math.ceil(K / 128) / parts) * 128).toBeLessThan(K); // none is empty
  }
});

test('nothing to add up gives zeros, or the bias', async () => {
  await expectSame(() => tf.matMul(tf.zeros([3, 0]), tf.zeros([0, 4])));
  await expectSame(() => tf.matMul(tf.zeros([2, 3, 0]), tf.zeros([1, 5, 0]), false, true));
  const sum = tf.tidy(() => {
    const inputs = { x: tf.zeros([2, 0]), weight: tf.zeros([3, 0]), bias: tf.tensor1d([1, 2, 3]) };
    return tf.engine().runKernel('LinearBias', inputs) as tf.Tensor;
  });
  expect(await sum.array()).toEqual([
    [1, 2, 3],
    [1, 2, 3],
  ]);
  sum.dispose();
});

test('empty results', async () => {
  await expectProduct({ a: [0, 3], b: [3, 4] });
  await expectProduct({ a: [2, 3], b: [3, 0] });
  await expectProduct({ a: [0, 2, 3], b: [1, 3, 4] });
  await expectProduct({ a: [2, 0, 2, 3], b: [2, 1, 3, 4] });
  await expectProduct({ a: [0, 3], b: [4, 3], transposeB: true, bias: true });
});

test('inner sizes that differ', () => {
  const [a, b] = [tf.zeros([2, 3]), tf.zeros([3, 4])];
  expect(() => matmul(opened(), a, b, { transposeB: true })).toThrow(
    'matmul: expected inner sizes to agree, got [2,3] x [3,4]^T',
  );
  tf.dispose([a, b]);
});

test('integers give integers', async () => {
  await expectSame(() => tf.matMul(integers([5, 7]), integers([7, 4])));
});
