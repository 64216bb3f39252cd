import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { create } from 'webgpu';
import type { SubgroupAttention, SubgroupMatrix, SubgroupTile } from '../src/device/open-device.ts';
import { resultApart } from '../src/device/run-apart.ts';
import { shader, useWebgpu } from '../src/index.ts';
import type { MatmulSpec } from '../src/kernels/matmul/matmul.wgsl.ts';
import { candidates } from '../src/kernels/matmul/matmul-choice.ts';
import { subgroupMatmul } from '../src/kernels/matmul/matmul-subgroup.wgsl.ts';
import type { AttentionSpec } from '../src/ops/attention/attention.wgsl.ts';
import { fitsSubgroups, subgroupForward } from '../src/ops/attention/attention-subgroup.wgsl.ts';
import { attention } from '../src/ops/index.ts';
import {
  attentionProbe,
  attentionsOf,
  matmulProbe,
  type Probe,
  tilesOf,
  workingSubgroups,
} from '../src/ops/subgroup-probe.ts';
import type { Program } from '../src/program/program.ts';
import { openedBackend, spread } from './both-backends.ts';
import { asGpu, expectNear } from './ops-testing.ts';

const opened = openedBackend();

/** As NVIDIA, Intel and Apple list them. */
const matrices = [
  { M: 16, N: 16, K: 16 },
  { M: 16, N: 8, K: 16 },
  { M: 8, N: 16, K: 16 },
  { M: 8, N: 8, K: 8 },
];

const spec: MatmulSpec = {
  ...{ M: 70, N: 68, K: 40, batch: 1, parts: 1, transposeA: false, transposeB: true },
  ...{ broadcastA: true, broadcastB: true, bias: false, activation: undefined, residual: false },
  ...{ halfA: true, halfB: true, halfC: true },
};

const attended: AttentionSpec = { G: 2, Nq: 21, Nk: 35, D: 16, kh: 7, kw: 5, scale: 0.3, bias: true, half: false };

test('every text is valid, as far as Dawn can tell without an adapter that has subgroup matrices', async () => {
  const gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
  const adapter = (await gpu.requestAdapter())!;
  const feature: string = 'chromium-experimental-subgroup-matrix';
  const requiredFeatures = ['shader-f16', 'subgroups', feature as GPUFeatureName] as const;
  const device = await adapter.requestDevice({ requiredFeatures: [...requiredFeatures] });
  const tiles = tilesOf(matrices, 32);
  expect(tiles.length).toBeGreaterThan(4);
  const kinds: Partial<MatmulSpec>[] = [
    {},
    { transposeA: true, transposeB: false, N: 67 },
    { halfA: false, bias: true, activation: 'gelu', residual: true, K: 39 },
  ];
  const attentions = attentionsOf(matrices, 32);
  expect(attentions).toHaveLength(matrices.length);
  const ofAttention = attentions.flatMap((matrix) =>
    [16, 64, 80, 128]
      .filter((D) => fitsSubgroups(matrix, D))
      .flatMap((D) => [true, false].map((bias) => subgroupForward({ ...attended, D, bias, half: true }, matrix))),
  );
  expect(ofAttention.length).toBeGreaterThan(24);
  const programs = tiles.flatMap((tile) => kinds.map((kind) => subgroupMatmul({ ...spec, ...kind }, tile)));
  for (const { shader } of [...programs, ...ofAttention]) {
    const code = shader.wgsl;
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    expect(messages.map(({ message }) => message)).toEqual([]);
    expect(await device.popErrorScope()).toBeNull();
    await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  }
  device.destroy();
});

/**
 * The same text for adapters without subgroup matrices and float16. A left or right matrix is copied to a place in workgroup memory by each lane of
 * its subgroup, or read where it lies if it is multiplied at once; of results a lane has every so many values, all in float32. What is loaded,
 * multiplied and stored where is the text's own.
 */
function emulated(
  { shader, ...program }: Program,
  { M, N, K, subgroupSize: lanes }: SubgroupMatrix & { readonly subgroupSize: number },
): Program {
  const functions = new Map<string, string>();
  const subgroups = 4;
  let copied = 0; // numbers in workgroup memory
  const each = (count: number) => `var i = 0u; i < ${count}u * one(); i++`; // known at run time only: unrolled, it takes long to compile
  functions.set('one', `fn one() -> u32 { return min(u32(p.${shader.uniforms[0]!.name}), 1u); }`);
  const placeOf = (order: string, row: string, column: string) =>
    order === 'row' ? `at + (${row}) * stride + ${column}` : `at + (${column}) * stride + ${row}`;
  const load = (kind: string, order: string, tile: string): string => {
    const [rows, columns] = kind === 'left' ? [M, K] : [K, N];
    const size = rows * columns;
    const name = `load_${kind}_${order}_${tile}`;
    functions.set(
      name,
      `fn ${name}(to: u32, at: u32, stride: u32) -> u32 {
  for (${each(size)}) { copies[to + i] = ${tile}[${placeOf(order, `i / ${columns}u`, `i % ${columns}u`)}]; }
  return to;
}`,
    );
    const first = copied;
    copied += subgroups * size;
    return `${name}(${first}u + subgroup * ${size}u,`;
  };
  const result = `array<f32, ${(M * N) / lanes}>`;
  const own = `let i = n * ${lanes}u + lane;`; // number of a value in its matrix
  const store = (tile: string): string => {
    functions.set(
      'store',
      `fn stored(at: u32, sums: ${result}, stride: u32, lane: u32) {
  var c = sums;
  for (var n = 0u; n < ${(M * N) / lanes}u; n++) { ${own} ${tile}[${placeOf('row', `i / ${N}u`, `i % ${N}u`)}] = c[n]; }
}`,
    );
    return 'stored';
  };
  const multiplied = (order: string, tile: string): string => {
    const name = `multiplied_${order}_${tile}`;
    functions.set(
      name,
      `fn ${name}(a: u32, at: u32, stride: u32, sums: ${result}, lane: u32) -> ${result} {
  var c = sums;
  for (var n = 0u; n < ${(M * N) / lanes}u; n++) {
    ${own}
    for (var k = 0u; k < ${K}u * one(); k++) { c[n] += copies[a + (i / ${N}u) * ${K}u + k] * ${tile}[${placeOf(order, 'k', `i % ${N}u`)}]; }
  }
  return c;
}`,
    );
    return name;
  };
  const right = String.raw`subgroupMatrixLoad<subgroup_matrix_right<f16, \d+, \d+>, (row|col)_major>\(&(\w+), ([^()]*)\)`;
  const text = shader.wgsl
    .replace(/^enable .*\n/gm, '')
    .replace('@diagnostic(off, chromium.subgroup_matrix_uniformity)', '')
    .replace(
      new RegExp(String.raw`subgroupMatrixMultiplyAccumulate\((\w+), ${right}, (\w+)\)`, 'g'),
      (_, a: string, order: string, tile: string, at: string, sums: string) =>
        `${multiplied(order, tile)}(${a}, ${at}, ${sums}, lane)`,
    )
    .replace(
      /subgroupMatrixMultiplyAccumulate\((\w+), (\w+), (\w+)\)/g,
      (_, a: string, b: string, sums: string) => `${multiplied('row', 'copies')}(${a}, ${b}, ${N}u, ${sums}, lane)`,
    )
    .replace(
      /subgroupMatrixLoad<subgroup_matrix_(left|right)<f16, \d+, \d+>, (row|col)_major>\(&(\w+),/g,
      (_, kind: string, order: string, tile: string) => load(kind, order, tile),
    )
    .replace(
      /subgroupMatrixStore<row_major>\(&(\w+), (own(?: \+ \d+u)?), (\w+), (\d+u)\)/g,
      (_, tile: string, at: string, sums: string, stride: string) => `${store(tile)}(${at}, ${sums}, ${stride}, lane)`,
    )
    .replace(/subgroup_matrix_result<f32, \d+, \d+>/g, result)
    .replace(/subgroup_matrix_left<f16, \d+, \d+>/g, 'u32')
    .replaceAll('vec4<f16>', 'vec4f')
    .replaceAll('f16', 'f32');
  const head = `var<workgroup> copies: array<f32, ${copied}>;\n${[...functions.values()].join('\n')}`;
  const wgsl = text.replace('@compute', `${head}\n@compute`);
  expect(wgsl).not.toMatch(/subgroup_?[mM]atrix/);
  const f32 = ({ half: _, ...binding }: Program['shader']['inputs'][number]) => ({ ...binding, half: false });
  const { inputs, outputs } = shader;
  return { ...program, shader: { ...shader, wgsl, inputs: inputs.map(f32), outputs: outputs.map(f32) } };
}

/** Small, as lavapipe compiles emulated matrices for seconds. */
const tiles: readonly [SubgroupTile, SubgroupTile] = [
  { M: 4, N: 4, K: 8, subgroupSize: 4, down: 2, across: 2, subgroupsDown: 2, subgroupsAcross: 2, depth: 8 },
  { M: 4, N: 8, K: 2, subgroupSize: 8, down: 1, across: 1, subgroupsDown: 2, subgroupsAcross: 2, depth: 4 },
];

test.each<Partial<MatmulSpec>>([
  { transposeA: true, transposeB: false, batch: 2, broadcastA: false, M: 33, N: 35, K: 17 },
  { bias: true, activation: 'relu', residual: true, K: 39 },
])('what is loaded and stored where, by emulated matrices: %j', async (kind) => {
  const tile = tiles[1];
  const one: MatmulSpec = { ...spec, halfA: false, halfB: false, halfC: false, ...kind };
  const { M, N, K, batch } = one;
  const program = emulated(subgroupMatmul(one, tile), tile);
  const a = spread([one.broadcastA ? 1 : batch, ...(one.transposeA ? [K, M] : [M, K])]);
  const b = spread([1, ...(one.transposeB ? [N, K] : [K, N])], { seed: 2 });
  const more = one.bias ? [spread([N], { seed: 3 }), spread([batch, M, N], { seed: 4 })] : [];
  const product = tf.matMul(a, b, one.transposeA, one.transposeB);
  const expected = one.bias ? tf.add(tf.relu(tf.add(product, more[0]!)), more[1]!) : product;
  const output = { shape: [batch, M, N], dtype: 'float32' as const };
  const made = opened().run(program, [a, b, ...more], [output])[0]!;
  const [got, want] = [(await opened().read(made.dataId)) as Float32Array, await expected.data<'float32'>()];
  opened().disposeData(made.dataId);
  expectNear(JSON.stringify(kind), got, want, 1e-5, 0);
  tf.dispose([a, b, ...more, product, expected]);
});

test('attention with positions, by emulated matrices', async () => {
  const matrix: SubgroupAttention = { M: 4, N: 8, K: 16, subgroupSize: 8 };
  const { G, Nq, Nk, D, kh, kw, scale } = attended;
  const program = emulated(subgroupForward(attended, matrix), matrix);
  const [query, key, value] = ([Nq, Nk, Nk] as const).map((rows, seed) => spread([G, rows, D], { seed })) as [
    tf.Tensor3D,
    tf.Tensor3D,
    tf.Tensor3D,
  ];
  const [height, width] = [kh, kw].map((side, seed) => spread([G, Nq, side], { seed: 5 + seed })) as [
    tf.Tensor3D,
    tf.Tensor3D,
  ];
  const outputs = [
    [G, Nq, D],
    [G, Nq],
  ].map((shape) => ({ shape, dtype: 'float32' as const }));
  const made = opened().run(program, [query, key, value, height, width], outputs);
  const output = tf.engine().makeTensorFromTensorInfo(made[0]!);
  const logSumExp = tf.engine().makeTensorFromTensorInfo(made[1]!);
  const expected = attention({ query, key, value, scale, bias: { height, width } });
  expectNear('output', await output.data(), await expected.data(), 1e-5, 0);
  // exp(s - log-sum-exp) adds up to 1
  const sums = tf.tidy(() => {
    const scores = tf.mul(tf.matMul(query, key, false, true), scale);
    const positions = tf.add(tf.expandDims(height, 3), tf.expandDims(width, 2));
    const all = tf.add(scores, tf.reshape(positions, [G, Nq, Nk]));
    return tf.sum(tf.exp(tf.sub(all, tf.expandDims(logSumExp, 2))), 2);
  });
  const weights = await sums.data();
  expectNear('sums of weights', weights, new Float32Array(weights.length).fill(1), 1e-5, 0);
  tf.dispose([query, key, value, height, width, output, logSumExp, expected, sums]);
});

const wide: SubgroupAttention = { M: 4, N: 16, K: 16, subgroupSize: 8 };

test.each<[string, () => Probe, SubgroupAttention]>([
  ['a matmul', () => matmulProbe(tiles[0]), tiles[0]],
  ['attention', () => attentionProbe(wide), wide],
])('the probe of %s is right when it is emulated', async (_, probe, matrix) => {
  const { program, inputs, outputs, expected, tolerance } = probe();
  const tensors = inputs.map((bytes) => tf.tensor1d(Float32Array.from(new Uint16Array(bytes.buffer), floatOf)));
  const infos = [expected.length, ...outputs.slice(1).map((bytes) => bytes / 4)].map((size) => ({
    ...{ shape: [size], dtype: 'float32' as const },
  }));
  const made = opened().run(emulated(program, matrix), tensors, infos);
  expectNear('output', (await opened().read(made[0]!.dataId)) as Float32Array, expected, tolerance, 0);
  for (const { dataId } of made) opened().disposeData(dataId);
  tf.dispose(tensors);
});

/** Of a float16 that is not subnormal. */
const floatOf = (bits: number): number =>
  bits === 0 ? 0 : (bits & 0x8000 ? -1 : 1) * 2 ** (((bits >> 10) & 31) - 15) * (1 + (bits & 1023) / 1024);

test('what runs in a process of its own gives its first output', async () => {
  const double = shader({
    label: 'double',
    inputs: { x: 'f32' },
    outputs: { y: 'f32', z: 'f32' },
    uniforms: { size: 'u32', factor: 'f32' },
    body: `@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < p.size) { y[id.x] = p.factor * x[id.x]; z[id.x] = x[id.x]; }
}`,
  });
  const program = { shader: double, workgroups: [1, 1, 1], uniforms: { size: 3, factor: 1.5 } } as const;
  const work = { program, inputs: [new Uint8Array(Float32Array.of(1, 2, 4).buffer)], outputs: [12, 12] };
  const bytes = await resultApart(work, { toggles: {}, features: [] });
  expect(Array.from(new Float32Array(bytes!.slice().buffer))).toEqual([1.5, 3, 6]);
  expect(await resultApart(work, { toggles: {}, features: ['no-such-feature'] })).toBeUndefined();
  expect(await resultApart(work, { toggles: {}, adapter: 'no such adapter', features: [] })).toBeUndefined();
});

test('shapes that do not fit what every adapter has are not tried', () => {
  for (const { M, N, down, across, subgroupsDown, subgroupsAcross, depth, subgroupSize } of tilesOf(matrices, 32)) {
    const [rows, columns] = [M * down * subgroupsDown, N * across * subgroupsAcross];
    expect(2 * depth * (rows + columns) + 4 * subgroupsDown * subgroupsAcross * M * N).toBeLessThanOrEqual(16384);
    expect(subgroupsDown * subgroupsAcross * subgroupSize).toBeLessThanOrEqual(256);
  }
  expect(tilesOf(matrices, 0)).toEqual([]); // subgroups whose size varies
  expect(attentionsOf(matrices, 0)).toEqual([]);
  for (const D of [14, 24, 256]) expect(fitsSubgroups({ M: 16, N: 16, K: 16, subgroupSize: 32 }, D)).toBe(false);
});

test('a shape whose process fails is left out', async () => {
  const attentions = attentionsOf(matrices.slice(0, 1), 32);
  const none = { subgroupTiles: [], subgroupAttention: [] }; // this adapter has no subgroup matrices
  expect(
    await workingSubgroups({ tiles: tiles.slice(0, 1), attentions }, { toggles: { allow_unsafe_apis: true } }),
  ).toEqual(none);
});

test('asked for where the adapter has none: one line, and all works without', async () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const backend = await useWebgpu({ name: 'experimental', experimental: { subgroupMatrices: true } });
  const lines = warn.mock.calls.map(([line]) => String(line));
  warn.mockRestore();
  expect(
    lines.filter((line) => line.startsWith('useWebgpu: expected subgroup matrices of float16, got ')),
  ).toHaveLength(1);
  expect(backend.facts).toMatchObject({ subgroupTiles: [], subgroupAttention: [] });
  const product = tf.matMul(tf.ones([3, 5]), tf.ones([5, 2]));
  expect(Array.from(await product.data())).toEqual(Array(6).fill(5));
  backend.dispose();
  await tf.setBackend('slimsam-webgpu');
});

test('matmuls in half precision take them first, where enough of a tile is used', () => {
  const subgroupTiles = tilesOf(matrices.slice(0, 1), 32);
  const facts = { ...opened().facts, isCpu: false, subgroupSize: 32, vendor: 'nvidia', subgroupTiles };
  const names = (sizes: Partial<MatmulSpec>) =>
    candidates(Object.assign(Object.create(opened()), { facts }), { ...spec, ...sizes }).map(({ name }) => name);
  expect(names({ M: 4096, N: 3072, K: 768 })[0]).toBe('subgroups 128 x 128 by 16, 32 x 64');
  expect(names({ M: 4096, N: 3072, K: 768 })).toHaveLength(4);
  expect(names({ M: 4096, N: 16 })[0]).toMatch(/^tile/);
  expect(names({ M: 4096, N: 3072, halfC: false }).join()).not.toContain('subgroups');
});

test('attention in half precision takes them where they fit its width, else goes without', () =>
  asGpu(
    opened(),
    async () => {
      const labels: string[] = [];
      const run = vi.spyOn(opened(), 'run').mockImplementation((program, _, outputs) => {
        labels.push(program.shader.label);
        return outputs.map(({ shape, dtype }) =>
          opened().makeTensor(new Float32Array(tf.util.sizeFromShape([...shape])), shape, dtype),
        );
      });
      const isHalf = vi.spyOn(opened(), 'isHalf').mockReturnValue(true);
      tf.tidy(() => {
        for (const D of [64, 14]) {
          const [query, key, value] = [tf.ones([1, 9, D]), tf.ones([1, 9, D]), tf.ones([1, 9, D])] as tf.Tensor3D[];
          attention({ query: query!, key: key!, value: value!, scale: 1 });
        }
      });
      run.mockRestore();
      isHalf.mockRestore();
      expect(labels[0]).toBe('attention D=64 by subgroups 16 x 16 x 16');
      expect(labels[1]).not.toContain('subgroups');
    },
    { vendor: 'nvidia', subgroupAttention: attentionsOf(matrices.slice(0, 1), 32) },
  ));
