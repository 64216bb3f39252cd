/** The backend under test: opened once for all specs, its kernels wrapped so that it is known which of them a spec ran. */
import * as tf from '@tensorflow/tfjs-core';
import { openGpu } from '../src/device/dawn.ts';
import { createWebgpuBackend, type WebgpuBackend } from '../src/index.ts';
import { kernels } from '../src/kernels/index.ts';

/** How often specs that ran a kernel passed and failed. */
export interface KernelCount {
  readonly kernel: string;
  /** Whether tfjs-core derives a gradient from it. */
  readonly gradient: boolean;
  readonly passed: number;
  readonly failed: number;
}

export const backendName = 'slimsam-webgpu';

let backend: WebgpuBackend | undefined;
let adapter = 'none';
let ran = new Set<string>();
const tally = new Map<string, { passed: number; failed: number }>(
  kernels.map(({ kernelName }) => [kernelName, { passed: 0, failed: 0 }]),
);

/**
 * tfjs-core disposes the backend after every group of specs and asks for a new one: it gets the same again, with its compiled pipelines,
 * unless that one has failed.
 */
async function open(): Promise<WebgpuBackend> {
  const usable = await backend?.sync().then(
    () => true,
    () => false,
  );
  if (backend && usable) return backend;
  const how = (process.env.SLIMSAM_CONFORMANCE ?? '').split(','); // run.ts says so
  const opened = await createWebgpuBackend(how.includes('default-limits') ? { device: await leastDevice() } : {});
  if (how.includes('gpu'))
    Object.defineProperty(opened, 'facts', { value: { ...opened.facts, isCpu: false, subgroupSize: 0 } });
  opened.dispose = () => {};
  adapter = [opened.facts.name, ...how].filter(Boolean).join(', ');
  backend = opened;
  return opened;
}

/** A device of the adapter at hand with exactly WebGPU's default limits. */
async function leastDevice(): Promise<GPUDevice> {
  const { gpu, keepAlive } = await openGpu();
  const adapter = await gpu.requestAdapter();
  const features = (['subgroups', 'shader-f16'] as const).filter((feature) => adapter!.features.has(feature));
  kept.push(keepAlive, adapter);
  return adapter!.requestDevice({ requiredFeatures: features });
}

/** Dawn crashes when what made a device is garbage-collected. */
const kept: unknown[] = [];

export function registerBackend(): void {
  tf.registerBackend(backendName, open);
  for (const kernel of kernels) {
    tf.registerKernel({
      ...kernel,
      backendName,
      kernelFunc: (call) => {
        ran.add(kernel.kernelName);
        return kernel.kernelFunc(call);
      },
    });
  }
}

/** The kernels that ran since the last call. */
export function ranKernels(): ReadonlySet<string> {
  const names = ran;
  ran = new Set();
  return names;
}

export const summarize = {
  add(names: ReadonlySet<string>, status: 'passed' | 'failed'): void {
    for (const name of names) tally.get(name)![status]++;
  },
  all: (): KernelCount[] =>
    [...tally]
      .map(([kernel, counts]) => ({ kernel, gradient: tf.getGradient(kernel) !== undefined, ...counts }))
      .sort((a, b) => (a.kernel < b.kernel ? -1 : 1)),
};

export const adapterName = (): string => adapter;

/** Frees the backend, so that the process can end. */
export function close(): void {
  if (backend) Object.getPrototypeOf(backend).dispose.call(backend);
}
