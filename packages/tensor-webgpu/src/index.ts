import * as tf from '@tensorflow/tfjs-core';
import { WebgpuBackend } from './backend.ts';
import type { DawnToggles } from './device/dawn.ts';
import { type Experimental, openDevice, togglesFor } from './device/open-device.ts';
import { kernels } from './kernels/index.ts';
import { registerGradients } from './ops/gradients.ts';
import { opKernels } from './ops/kernels.ts';
import { checkCall } from './program/check-call.ts';

export { WebgpuBackend } from './backend.ts';
export type { DawnToggles } from './device/dawn.ts';
export type {
  AdapterFacts,
  Experimental,
  SubgroupAttention,
  SubgroupMatrix,
  SubgroupTile,
} from './device/open-device.ts';
export type { Program } from './program/program.ts';
export { type Shader, type ShaderParts, shader } from './program/shader.ts';
export { type TunedKernel, type TuneOptions, tune } from './tuning/tune.ts';
export type { Timings } from './tuning/tune-cache.ts';
export type { Clock } from './watching/dispatch-timer.ts';
export { findLeaks } from './watching/leaks.ts';
export type { Leak } from './watching/origins.ts';
export {
  type Ceiling,
  chromeTrace,
  type KernelTimes,
  type Profile,
  profile,
  profileTable,
} from './watching/profile.ts';
export type { DispatchTime } from './watching/recorder.ts';

/** How to open the backend. */
export interface WebgpuOptions {
  /** The name it is registered under; `slimsam-webgpu` unless given. */
  readonly name?: string;
  readonly powerPreference?: GPUPowerPreference;
  /** Another WebGPU entry point than `navigator.gpu` or Dawn. */
  readonly gpu?: GPU;
  /** A part of the name of the adapter to open, in Node, where a machine has several. */
  readonly adapter?: string;
  /** Refuse CPU adapters such as llvmpipe, on which a machine without a driver for its GPU ends; a warning tells of those otherwise. */
  readonly requireGpu?: boolean;
  /** Toggles of Dawn, in Node, where the backend makes the entry point itself. `vulkan_enable_f16_on_nvidia` is on unless turned off. */
  readonly toggles?: DawnToggles;
  /**
   * A device that others use too, such as onnxruntime-web's: `dispose` leaves it open. Its features and limits are those it was made
   * with; a `maxStorageBuffersPerShaderStage` of 12 is best for CPU adapters, of 10 for GPUs, and 8 are enough; subgroups and shader-f16 are used where it has them.
   */
  readonly device?: GPUDevice;
  /** What is tried out, off unless asked for. */
  readonly experimental?: Experimental;
}

const checkOptions = (options: WebgpuOptions): void =>
  checkCall('useWebgpu', options, {
    ...{ name: 'a string?', powerPreference: 'a string?', gpu: 'an object?', adapter: 'a string?' },
    ...{ requireGpu: 'a boolean?', toggles: 'an object?', device: 'a device?', experimental: 'an object?' },
  });

/** Opens a backend without registering it. @throws when there is no adapter, or an option is of another kind, with the cure */
export async function createWebgpuBackend(options: WebgpuOptions = {}): Promise<WebgpuBackend> {
  checkOptions(options);
  const opened = await openDevice(options);
  if (!options.experimental?.subgroupMatrices) return new WebgpuBackend(opened);
  const { matrices = [], facts } = opened;
  const { attentionsOf, tilesOf, workingSubgroups } = await import('./ops/subgroup-probe.ts'); // which no page needs
  const tiles = tilesOf(matrices, facts.subgroupSize);
  const attentions = attentionsOf(matrices, facts.subgroupSize);
  const working = await workingSubgroups(
    { tiles, attentions },
    { toggles: togglesFor(options), adapter: options.adapter },
  );
  if (working.subgroupTiles.length === 0) {
    const found = tiles.length > 0 ? `whose ${tiles.length} shapes failed when they were tried` : 'which lists none';
    console.warn(`useWebgpu: expected subgroup matrices of float16, got ${facts.name}, ${found}; matmuls go without`);
  }
  return new WebgpuBackend({ ...opened, facts: { ...facts, ...working } });
}

/**
 * Opens the backend, registers it with its kernels and makes it TensorFlow.js's current backend.
 *
 * `backend.dispose()` frees it; the process then ends by itself.
 *
 * @throws when there is no adapter, or an option is of another kind, with the cure
 */
export async function useWebgpu(options: WebgpuOptions = {}): Promise<WebgpuBackend> {
  const backend = await createWebgpuBackend(options);
  const name = options.name ?? 'slimsam-webgpu';
  if (tf.findBackendFactory(name)) tf.removeBackend(name);
  tf.registerBackend(name, () => backend);
  for (const kernel of [...kernels, ...opKernels]) {
    if (tf.getKernel(kernel.kernelName, name)) continue;
    const first = kernel === kernels[0]; // TensorFlow.js sets kernels up whenever their backend becomes the current one
    tf.registerKernel({ ...kernel, backendName: name, ...(first && { setupFunc: registerGradients }) });
  }
  await tf.setBackend(name);
  return backend;
}
