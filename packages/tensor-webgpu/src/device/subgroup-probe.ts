import { subgroupMatmul } from '../kernels/matmul/matmul-subgroup.wgsl.ts';
import type { Program } from '../program/program.ts';
import { type DawnToggles, dawnOptions } from './dawn.ts';
import { matrixFeature, type SubgroupMatrix, type SubgroupTile } from './open-device.ts';

/** The ways to multiply by matrices of these sizes that are worth a try, within the 16 KiB and 256 invocations that every adapter has. */
export function tilesOf(matrices: readonly SubgroupMatrix[], subgroupSize: number): SubgroupTile[] {
  const tiles = matrices.flatMap(({ M, N, K }) =>
    [
      { down: 2, across: 4, subgroupsDown: 4, subgroupsAcross: 2 },
      { down: 2, across: 2, subgroupsDown: 2, subgroupsAcross: 2 },
    ].map((shape) => ({ ...{ M, N, K, subgroupSize }, ...shape, depth: Math.max(K, 16) })),
  );
  const fits = ({ M, N, K, subgroupsDown, subgroupsAcross, down, across, depth }: SubgroupTile) => {
    const subgroups = subgroupsDown * subgroupsAcross;
    const [rows, columns] = [M * down * subgroupsDown, N * across * subgroupsAcross];
    const bytes = 2 * depth * (rows + columns) + 4 * subgroups * M * N;
    return depth % K === 0 && N % 4 === 0 && subgroups * subgroupSize <= 256 && bytes <= 16384;
  };
  return subgroupSize > 0 ? tiles.filter(fits) : [];
}

const patience = 30_000; // milliseconds for a process that opens a device and runs one dispatch
const most = 4; // tiles that are tried
const [rows, inner, columns] = [70, 40, 68]; // more than one tile of the smaller kind, and past the ends of all

/**
 * Those of the tiles whose matmul is right on the machine's adapter, each tried in a process of its own: with one shape Dawn ended the process. None
 * outside of Node.
 */
export async function workingTiles(tiles: readonly SubgroupTile[], toggles: DawnToggles): Promise<SubgroupTile[]> {
  const builtin = globalThis.process?.getBuiltinModule;
  if (!builtin) return [];
  const tried = tiles.slice(0, most);
  const good = await Promise.all(tried.map((tile) => isRight(tile, { builtin, toggles })));
  return tried.filter((_, i) => good[i]);
}

async function isRight(
  tile: SubgroupTile,
  { builtin, toggles }: { builtin: typeof process.getBuiltinModule; toggles: DawnToggles },
): Promise<boolean> {
  const { A, B, expected } = probeOperands();
  const program = probeProgram(tile);
  const dawn = builtin('node:module')
    .createRequire(import.meta.url)
    .resolve('webgpu');
  const task = {
    ...{ dawn: builtin('node:url').pathToFileURL(dawn).href, options: dawnOptions(toggles), feature: matrixFeature },
    ...{ wgsl: program.shader.wgsl, workgroups: program.workgroups },
    uniforms: program.shader.uniforms.map(({ name }) => program.uniforms[name]),
    ...{ inputs: [A, B].map((values) => Array.from(values, halfBits)), results: rows * columns },
  };
  const output = await outputOf(builtin, JSON.stringify(task));
  const got: unknown = output && JSON.parse(output);
  if (!Array.isArray(got) || got.length !== expected.length) return false;
  const largest = Math.max(...expected.map(Math.abs));
  return expected.every((value, i) => Math.abs(value - halfValue(got[i])) <= 2 ** -9 * largest);
}

/** [rows, inner] x [columns, inner]^T in half precision. */
export const probeProgram = (tile: SubgroupTile): Program =>
  subgroupMatmul(
    {
      ...{ M: rows, N: columns, K: inner, batch: 1, parts: 1, transposeA: false, transposeB: true },
      ...{ broadcastA: true, broadcastB: true, bias: false, activation: undefined, residual: false },
      ...{ halfA: true, halfB: true, halfC: true },
    },
    tile,
  );

/** Eighths, so that products and sums are exact. */
export function probeOperands(): { A: Float64Array; B: Float64Array; expected: Float64Array } {
  const eighths = (length: number, step: number) =>
    Float64Array.from({ length }, (_, i) => (((i * step) % 17) - 8) / 8);
  const [A, B] = [eighths(rows * inner, 7), eighths(columns * inner, 5)];
  const expected = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      for (let k = 0; k < inner; k++) expected[i * columns + j]! += A[i * inner + k]! * B[j * inner + k]!;
  return { A, B, expected };
}

/** The bits of a float16, of a number that is one and not subnormal. */
function halfBits(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  return value === 0 ? 0 : ((bits >>> 16) & 0x8000) | ((((bits >>> 23) & 255) - 112) << 10) | ((bits >>> 13) & 1023);
}

function halfValue(bits: number): number {
  const exponent = (bits >> 10) & 31;
  if (exponent === 31) return Number.NaN;
  const size = exponent === 0 ? (bits & 1023) * 2 ** -24 : (1 + (bits & 1023) / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}

/** What the probe prints; nothing when it crashes, fails or takes too long. */
function outputOf(builtin: typeof process.getBuiltinModule, task: string): Promise<string | undefined> {
  const { spawn } = builtin('node:child_process');
  const child = spawn(process.execPath, ['--input-type=module', '-e', probe], {
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: patience,
    killSignal: 'SIGKILL',
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stdin.on('error', () => undefined); // it ended early, which its exit code tells
  child.stdin.end(task);
  return new Promise((resolve) => {
    child.on('error', () => resolve(undefined));
    child.on('close', (code) => resolve(code === 0 ? Buffer.concat(chunks).toString() : undefined));
  });
}

/** Runs one program on two inputs of float16 and prints the bits of its result, then makes its pipeline once more: it was there that one crashed. */
const probe = `
import { readFileSync, writeSync } from 'node:fs';
const { dawn, options, feature, wgsl, workgroups, uniforms, inputs, results } = JSON.parse(readFileSync(0, 'utf8'));
const { create, globals } = await import(dawn);
Object.assign(globalThis, globals);
const gpu = create(options);
const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
const device = await adapter.requestDevice({ requiredFeatures: ['shader-f16', 'subgroups', feature] });
const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
const bufferOf = (data, usage) => {
  const buffer = device.createBuffer({ size: Math.ceil(data.byteLength / 16) * 16, usage: usage | COPY_DST | COPY_SRC });
  device.queue.writeBuffer(buffer, 0, data);
  return buffer;
};
const size = Math.ceil(results / 2) * 4;
const buffers = [
  ...inputs.map((words) => bufferOf(Uint16Array.from([...words, 0].slice(0, 2 * Math.ceil(words.length / 2))), STORAGE)),
  bufferOf(new Uint8Array(size), STORAGE),
  bufferOf(Uint32Array.from(uniforms), UNIFORM),
];
device.addEventListener('uncapturederror', () => process.exit(1));
const pipelineOf = (code) => device.createComputePipelineAsync({ layout: 'auto', compute: { module: device.createShaderModule({ code }), entryPoint: 'main' } });
const pipeline = await pipelineOf(wgsl);
const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })) });
const staging = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
pass.setPipeline(pipeline);
pass.setBindGroup(0, group);
pass.dispatchWorkgroups(...workgroups);
pass.end();
encoder.copyBufferToBuffer(buffers[inputs.length], 0, staging, 0, size);
device.queue.submit([encoder.finish()]);
await pipelineOf(wgsl + '// again');
await staging.mapAsync(GPUMapMode.READ);
writeSync(1, JSON.stringify([...new Uint16Array(staging.getMappedRange())].slice(0, results)));
process.exit(0);
`;
