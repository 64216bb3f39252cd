import type { Program } from '../program/program.ts';
import { type DawnToggles, dawnOptions } from './dawn.ts';

/** A program with what it reads, and how many bytes it writes. */
export interface ApartWork {
  readonly program: Program;
  readonly inputs: readonly Uint8Array[];
  readonly outputs: readonly number[];
}

interface ApartOptions {
  readonly toggles: DawnToggles;
  /** A part of the name of the only adapter that Dawn may give. */
  readonly adapter?: string | undefined;
  readonly features: readonly string[];
}

const patience = 30_000; // milliseconds for a process that opens a device and runs one dispatch

/**
 * The first output of a program that is run in a process of its own: texts may end the process. Nothing where it crashes,
 * fails or takes too long, and outside of Node.
 */
export async function resultApart(
  { program, inputs, outputs }: ApartWork,
  { toggles, adapter, features }: ApartOptions,
): Promise<Uint8Array | undefined> {
  const builtin = globalThis.process?.getBuiltinModule;
  if (!builtin) return undefined;
  const { shader, uniforms, workgroups } = program;
  const words = new DataView(new ArrayBuffer(4 * shader.uniforms.length));
  for (const [i, { name, type }] of shader.uniforms.entries())
    if (type === 'f32') words.setFloat32(4 * i, uniforms[name]!, true);
    else words.setInt32(4 * i, uniforms[name]!, true);
  const base64 = (bytes: Uint8Array) =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
  const dawn = builtin('node:module')
    .createRequire(import.meta.url)
    .resolve('webgpu');
  const task = {
    ...{ dawn: builtin('node:url').pathToFileURL(dawn).href, options: dawnOptions(toggles, adapter), features },
    ...{ wgsl: shader.wgsl, workgroups, outputs },
    ...{ inputs: inputs.map(base64), uniforms: base64(new Uint8Array(words.buffer)) },
  };
  const output = await outputOf(builtin, JSON.stringify(task));
  return output === undefined ? undefined : new Uint8Array(Buffer.from(output, 'base64'));
}

/** What the process prints; nothing when it crashes, fails or takes too long. */
function outputOf(builtin: typeof process.getBuiltinModule, task: string): Promise<string | undefined> {
  const { spawn } = builtin('node:child_process');
  const child = spawn(process.execPath, ['--input-type=module', '-e', main], {
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

/** Runs the program and prints its result, then makes its pipeline once more: it was there that one crashed. */
const main = `
import { readFileSync, writeSync } from 'node:fs';
const { dawn, options, features, wgsl, workgroups, uniforms, inputs, outputs } = JSON.parse(readFileSync(0, 'utf8'));
const { create, globals } = await import(dawn);
Object.assign(globalThis, globals);
const gpu = create(options);
const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
const device = await adapter.requestDevice({ requiredFeatures: features });
device.addEventListener('uncapturederror', () => process.exit(1));
const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
const bufferOf = (bytes, usage) => {
  const data = new Uint8Array(Math.ceil(bytes.length / 16) * 16);
  data.set(bytes);
  const buffer = device.createBuffer({ size: data.length, usage: usage | COPY_DST | COPY_SRC });
  device.queue.writeBuffer(buffer, 0, data);
  return buffer;
};
const given = inputs.map((text) => bufferOf(Buffer.from(text, 'base64'), STORAGE));
const made = outputs.map((bytes) => bufferOf(new Uint8Array(bytes), STORAGE));
const buffers = [...given, ...made, bufferOf(Buffer.from(uniforms, 'base64'), UNIFORM)];
const pipelineOf = (code) => device.createComputePipelineAsync({ layout: 'auto', compute: { module: device.createShaderModule({ code }), entryPoint: 'main' } });
const pipeline = await pipelineOf(wgsl);
const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })) });
const staging = device.createBuffer({ size: made[0].size, usage: MAP_READ | COPY_DST });
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
pass.setPipeline(pipeline);
pass.setBindGroup(0, group);
pass.dispatchWorkgroups(...workgroups);
pass.end();
encoder.copyBufferToBuffer(made[0], 0, staging, 0, staging.size);
device.queue.submit([encoder.finish()]);
await pipelineOf(wgsl + '// again');
await staging.mapAsync(GPUMapMode.READ);
writeSync(1, Buffer.from(staging.getMappedRange()).subarray(0, outputs[0]).toString('base64'));
process.exit(0);
`;
