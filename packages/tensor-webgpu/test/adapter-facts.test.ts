import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { create } from 'webgpu';
import { WebgpuBackend } from '../src/backend.ts';
import type { AdapterFacts } from '../src/device/open-device.ts';
import { sparseKernels } from '../src/kernels/cpu/sparse.ts';
import { stringKernels } from '../src/kernels/cpu/string-tensors.ts';
import { valueKernels } from '../src/kernels/cpu/value-kernels.ts';
import { kernels } from '../src/kernels/index.ts';
import { opKernels } from '../src/ops/kernels.ts';
import { callEveryKernel } from './every-kernel.ts';
import { checkByNaga, withoutSubgroups } from './naga.ts';

const gpu = create(['backend=null']); // its compiler checks every text, nothing computes
const name = 'every-kernel';
const onCpu = new Set([...sparseKernels, ...stringKernels, ...valueKernels].map(({ kernelName }) => kernelName));
const texts = new Map<string, string>(); // label by text, of all kernels as written for all adapters below
const onGpu = [...kernels, ...opKernels].filter(({ kernelName }) => !onCpu.has(kernelName));

interface Case {
  readonly isCpu: boolean;
  /** Lanes of a subgroup; 0: varying. */
  readonly subgroups: 'none' | 0 | 4 | 8 | 16 | 32 | 64;
  readonly half: boolean;
  /** Decides shapes. */
  readonly vendor?: string;
  /** As many buffers as every adapter binds; else 16 are said to be there, which the null adapter does not bind. */
  readonly least?: boolean;
}

/** A device of the null adapter that makes each shader and pipeline once, and what it finds in them. */
async function watchedDevice(features: GPUFeatureName[]): Promise<{ device: GPUDevice; checks: Promise<string[]>[] }> {
  const adapter = await gpu.requestAdapter();
  const device = await adapter!.requestDevice({ requiredFeatures: features });
  const checks: Promise<string[]>[] = [];
  const modules = new Map<string, GPUShaderModule>();
  const pipelines = new Map<GPUShaderModule, GPUComputePipeline>();
  const createModule = device.createShaderModule.bind(device);
  device.createShaderModule = (descriptor) => {
    const { code, label } = descriptor;
    texts.set(code, label!);
    let module = modules.get(code);
    if (!module) {
      module = createModule(descriptor);
      modules.set(code, module);
      const errors = ({ messages }: GPUCompilationInfo) =>
        messages.filter(({ type }) => type === 'error').map(({ message }) => `${label}: ${message}`);
      checks.push(module.getCompilationInfo().then(errors));
    }
    return module;
  };
  const createPipeline = device.createComputePipeline.bind(device);
  device.createComputePipeline = (descriptor) => {
    const { label, compute } = descriptor;
    let pipeline = pipelines.get(compute.module);
    if (!pipeline) {
      device.pushErrorScope('validation');
      pipeline = createPipeline(descriptor);
      pipelines.set(compute.module, pipeline);
      const refused = device.popErrorScope();
      const code = [...modules].find(([, module]) => module === compute.module)![0];
      if (code.split('var<storage').length - 1 <= device.limits.maxStorageBuffersPerShaderStage)
        checks.push(refused.then((error) => (error ? [`${label}: ${error.message}`] : [])));
    }
    return pipeline;
  };
  device.destroy = () => {}; // the next backend goes on with it
  return { device, checks };
}

const devices = new Map<string, ReturnType<typeof watchedDevice>>();

/** What the compiler finds in the texts of every kernel as written for such an adapter, and the kernels that were not called. */
async function compileAll({
  isCpu,
  subgroups,
  half,
  vendor = '',
  least = false,
}: Case): Promise<{ found: string[]; missed: string[] }> {
  const features: GPUFeatureName[] = [];
  if (subgroups !== 'none') features.push('subgroups');
  if (half) features.push('shader-f16');
  const opened = devices.get(features.join()) ?? watchedDevice(features);
  devices.set(features.join(), opened);
  const { device, checks } = await opened;
  const facts: AdapterFacts = {
    ...{
      name,
      vendor,
      architecture: '',
      isCpu,
      features,
      maxBindingBytes: 2 ** 27,
      subgroupTiles: [],
      subgroupAttention: [],
    },
    storageBuffers: least ? device.limits.maxStorageBuffersPerShaderStage : 16,
    subgroupSize: subgroups === 'none' ? 0 : subgroups,
    leastSubgroup: subgroups === 'none' ? 0 : subgroups || 8, // 0: it varies
  };
  const backend = new WebgpuBackend({ device, facts, keepAlive: gpu });
  const called = new Set<string>();
  for (const kernel of [...kernels, ...opKernels]) {
    const { kernelFunc, kernelName } = kernel;
    const counted: tf.KernelFunc = (call) => {
      called.add(kernelName);
      return kernelFunc(call);
    };
    tf.registerKernel({ ...kernel, kernelFunc: counted, backendName: name });
  }
  tf.registerBackend(name, () => backend);
  try {
    await tf.setBackend(name);
    device.pushErrorScope('validation'); // the null adapter binds 8 buffers, attention's gradients take 10 or 12 where they can
    callEveryKernel({ half });
    const error = await device.popErrorScope();
    const found = (await Promise.all(checks.splice(0))).flat();
    if (least && error) found.push(error.message);
    const needed = onGpu.filter(({ kernelName }) => half || kernelName !== 'Half');
    return { found, missed: needed.map(({ kernelName }) => kernelName).filter((kernel) => !called.has(kernel)) };
  } finally {
    for (const { kernelName } of [...kernels, ...opKernels]) tf.unregisterKernel(kernelName, name);
    tf.removeBackend(name);
  }
}

const cases = [true, false].flatMap((isCpu) =>
  (['none', 0, 4, 8, 16, 32, 64] as const).flatMap((subgroups) =>
    [true, false].map((half): Case => ({ isCpu, subgroups, half })),
  ),
);

test.each(cases)('every kernel compiles: CPU $isCpu, subgroups $subgroups, float16 $half', async (one) => {
  expect(await compileAll(one)).toEqual({ found: [], missed: [] });
});

test("WebGPU's default limits are the null adapter's: 8 storage buffers, 16 KiB of workgroup memory, 256 invocations", async () => {
  const { limits } = await (await gpu.requestAdapter())!.requestDevice();
  expect(limits.maxStorageBuffersPerShaderStage).toBe(8);
  expect(limits.maxComputeWorkgroupStorageSize).toBe(16384);
  expect(limits.maxComputeInvocationsPerWorkgroup).toBe(256);
});

const vendors = ['nvidia', 'amd', 'intel', 'apple', 'qualcomm'].flatMap((vendor) =>
  (['none', 32] as const).map((subgroups) => ({ isCpu: false, subgroups, half: false, vendor, least: true })),
);

test.each([...vendors, { isCpu: true, subgroups: 8, half: false, vendor: 'mesa', least: true } as const])(
  'every kernel runs within those limits: $vendor, CPU $isCpu, subgroups $subgroups',
  async (one) => {
    expect(await compileAll(one)).toEqual({ found: [], missed: [] });
  },
);

test('naga, the compiler of Firefox and Deno, takes every text; of those for subgroups, which neither has, what is around their functions', async () => {
  const all = Array.from(texts, ([code, label]) => ({ label, code }));
  const plain = all.filter(({ code }) => !code.includes('enable subgroups'));
  const others = all
    .filter(({ code }) => code.includes('enable subgroups'))
    .map(({ label, code }) => ({ label, code: withoutSubgroups(code), readOnly: true }));
  expect(plain.length).toBeGreaterThan(300);
  const families = new Set(others.map(({ label }) => /^(log )?[a-z-]+( (query|key))?/.exec(label)![0]));
  expect([...families].sort().join(', ')).toBe(
    'attention, attention key, attention query, log softmax, matmul-panel, softmax',
  );
  const { checked, without, errors } = await checkByNaga([...plain, ...others]);
  expect(errors).toEqual([]);
  expect(checked + without).toBe(all.length);
  expect(checked).toBeGreaterThan(300);
}, 400_000); // three times what it took on a loaded machine, and more
