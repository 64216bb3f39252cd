import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { create } from 'webgpu';
import type { SubgroupTile } from '../src/device/open-device.ts';
import { probeOperands, probeProgram, tilesOf, workingTiles } from '../src/device/subgroup-probe.ts';
import { useWebgpu } from '../src/index.ts';
import type { MatmulSpec } from '../src/kernels/matmul/matmul.wgsl.ts';
import { candidates } from '../src/kernels/matmul/matmul-choice.ts';
import { subgroupMatmul } from '../src/kernels/matmul/matmul-subgroup.wgsl.ts';
import type { Program } from '../src/program/program.ts';
import { openedBackend, spread } from './both-backends.ts';

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
  for (const tile of tiles)
    for (const kind of kinds) {
      const code = subgroupMatmul({ ...spec, ...kind }, tile).shader.wgsl;
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
 * The same text for adapters without subgroup matrices and float16: each lane has the whole of a matrix, in float32. What is loaded, multiplied
 * and stored where is the text's own.
 */
function emulated({ shader, ...program }: Program, { M, N, K }: SubgroupTile): Program {
  const load = (name: string, rows: number, columns: number) =>
    `fn load${name}(at: u32, stride: u32) -> array<f32, ${rows * columns}> {
  var m: array<f32, ${rows * columns}>;
  for (var i = 0u; i < ${rows * columns}u; i++) { m[i] = tile${name}[at + (i / ${columns}u) * stride + i % ${columns}u]; }
  return m;
}`;
  const functions = `${load('A', M, K)}
${load('B', K, N)}
fn multiplied(a: array<f32, ${M * K}>, b: array<f32, ${K * N}>, c: array<f32, ${M * N}>) -> array<f32, ${M * N}> {
  var left = a; var right = b; var sums = c;
  for (var i = 0u; i < ${M * N}u; i++) {
    for (var k = 0u; k < ${K}u; k++) { sums[i] += left[(i / ${N}u) * ${K}u + k] * right[k * ${N}u + i % ${N}u]; }
  }
  return sums;
}
fn stored(at: u32, c: array<f32, ${M * N}>, stride: u32, lane: u32) {
  var sums = c;
  if (lane != 0u) { return; }
  for (var i = 0u; i < ${M * N}u; i++) { tileC[at + (i / ${N}u) * stride + i % ${N}u] = sums[i]; }
}
`;
  const wgsl = shader.wgsl
    .replace(/^enable .*\n/gm, '')
    .replace('@diagnostic(off, chromium.subgroup_matrix_uniformity)', '')
    .replace(
      /subgroupMatrixLoad<subgroup_matrix_(?:left|right)<f16, \d+, \d+>, row_major>\(&tile([AB]), (.*?), (\d+u)\);/g,
      'load$1($2, $3);',
    )
    .replace(/subgroupMatrixStore<row_major>\(&tileC, own, (\w+), (\d+u)\)/g, 'stored(own, $1, $2, lane)')
    .replaceAll('subgroupMatrixMultiplyAccumulate', 'multiplied')
    .replace(/subgroup_matrix_result<f32, \d+, \d+>/g, `array<f32, ${M * N}>`)
    .replaceAll('vec4<f16>', 'vec4f')
    .replaceAll('f16', 'f32')
    .replace('@compute', `${functions}@compute`);
  expect(wgsl).not.toMatch(/subgroup_?[mM]atrix/);
  return { ...program, shader: { ...shader, wgsl } };
}

/** Small, as lavapipe compiles emulated matrices for seconds; one is square. */
const tiles: readonly [SubgroupTile, SubgroupTile] = [
  { M: 4, N: 4, K: 4, subgroupSize: 4, down: 2, across: 2, subgroupsDown: 2, subgroupsAcross: 2, depth: 8 },
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
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  for (const [i, value] of want.entries())
    if (!(Math.abs(value - got[i]!) <= 1e-5 * largest))
      expect.fail(`${JSON.stringify(kind)} [${i}]: expected ${value}, got ${got[i]}`);
  tf.dispose([a, b, ...more, product, expected]);
});

test('the probe of a shape is right when it is emulated', async () => {
  const { A, B, expected } = probeOperands();
  const program = probeProgram(tiles[0]);
  const f32 = ({ half: _, ...binding }: Program['shader']['inputs'][number]) => ({ ...binding, half: false });
  const { shader, ...rest } = emulated(program, tiles[0]);
  const whole = { ...rest, shader: { ...shader, inputs: shader.inputs.map(f32), outputs: shader.outputs.map(f32) } };
  const inputs = [A, B].map((values) => tf.tensor1d(Float32Array.from(values)));
  const made = opened().run(whole, inputs, [{ shape: [expected.length], dtype: 'float32' }])[0]!;
  expect(await opened().read(made.dataId)).toEqual(Float32Array.from(expected));
  opened().disposeData(made.dataId);
  tf.dispose(inputs);
});

test('shapes that do not fit what every adapter has are not tried', () => {
  for (const { M, N, down, across, subgroupsDown, subgroupsAcross, depth, subgroupSize } of tilesOf(matrices, 32)) {
    const [rows, columns] = [M * down * subgroupsDown, N * across * subgroupsAcross];
    expect(2 * depth * (rows + columns) + 4 * subgroupsDown * subgroupsAcross * M * N).toBeLessThanOrEqual(16384);
    expect(subgroupsDown * subgroupsAcross * subgroupSize).toBeLessThanOrEqual(256);
  }
  expect(tilesOf(matrices, 0)).toEqual([]); // subgroups whose size varies
});

test('a shape whose process fails is left out', async () => {
  expect(await workingTiles(tiles.slice(0, 1), { allow_unsafe_apis: true })).toEqual([]); // this adapter has no subgroup matrices
});

test('asked for where the adapter has none: one line, and all works without', async () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const backend = await useWebgpu({ name: 'experimental', experimental: { subgroupMatrices: true } });
  const lines = warn.mock.calls.map(([line]) => String(line));
  warn.mockRestore();
  expect(
    lines.filter((line) => line.startsWith('useWebgpu: expected subgroup matrices of float16, got ')),
  ).toHaveLength(1);
  expect(backend.facts.subgroupTiles).toEqual([]);
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
