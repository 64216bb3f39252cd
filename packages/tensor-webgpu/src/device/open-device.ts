import { type DawnToggles, type GpuEntry, openGpu } from './dawn.ts';
import { missingDriver } from './missing-driver.ts';

/** What kernels may ask about the adapter. */
export interface AdapterFacts {
  /** The name to print, such as `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** A software adapter: barriers and workgroup memory are slow there, long unrolled bodies fast. */
  readonly isCpu: boolean;
  /** Lanes of a subgroup, 0 when the adapter has no subgroups or their size varies. */
  readonly subgroupSize: number;
  /** The fewest lanes that a subgroup may have, 0 without subgroups. */
  readonly leastSubgroup: number;
  /** Storage buffers that a shader may bind. */
  readonly storageBuffers: number;
  /** The largest storage binding, bytes. */
  readonly maxBindingBytes: number;
  readonly features: readonly string[];
  /** How it multiplies by subgroup matrices; none unless they were asked for and proved to work. */
  readonly subgroupTiles: readonly SubgroupTile[];
  /** And computes attention. */
  readonly subgroupAttention: readonly SubgroupAttention[];
}

/** The sizes of the matrices that a subgroup multiplies, float16 to float32: [M, K] x [K, N]. */
export interface SubgroupMatrix {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** Matrices of which attention is made. */
export interface SubgroupAttention extends SubgroupMatrix {
  readonly subgroupSize: number;
}

/** How a workgroup makes a part of C of such matrices. */
export interface SubgroupTile extends SubgroupMatrix {
  readonly subgroupSize: number;
  /** Matrices of C that a subgroup has. */
  readonly down: number;
  readonly across: number;
  readonly subgroupsDown: number;
  readonly subgroupsAcross: number;
  /** How much of K is in workgroup memory at a time. */
  readonly depth: number;
}

/** A CPU adapter whose subgroups the panel kernels are made for; every other one takes the tiles. */
export const takesPanels = ({ isCpu, subgroupSize }: AdapterFacts): boolean => isCpu && subgroupSize === 8;

export interface OpenDevice {
  readonly device: GPUDevice;
  readonly facts: AdapterFacts;
  readonly keepAlive: unknown;
  /** Others use it too: it stays open when the backend is disposed. */
  readonly shared?: boolean;
  /** Those that the device lists, where they were asked for. */
  readonly matrices?: readonly SubgroupMatrix[];
}

/** What is tried out: it may change or go. */
export interface Experimental {
  /**
   * Matmuls and attention in half precision by subgroup matrices, in Node, where the adapter lists them for float16: each way is tried in a process of
   * its own first, as some end the process. They have not run on a GPU with these kernels yet.
   */
  readonly subgroupMatrices?: boolean;
}

/** What to open: a device of someone else's, or one of the adapter of an entry point, else of `navigator.gpu` or Dawn. */
export interface DeviceOptions {
  readonly device?: GPUDevice;
  readonly gpu?: GPU;
  readonly powerPreference?: GPUPowerPreference;
  readonly toggles?: DawnToggles;
  readonly adapter?: string;
  readonly requireGpu?: boolean;
  readonly experimental?: Experimental;
}

const wantedFeatures = ['subgroups', 'shader-f16', 'timestamp-query'] as const;
const wantedLimits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

/**
 * Opens a device with the adapter's own limits and those of its features that kernels use.
 *
 * @throws when there is no adapter, or only a CPU where a GPU is required, with the cure
 */
export async function openDevice(options: DeviceOptions): Promise<OpenDevice> {
  const given = options.device;
  if (given) {
    const features = wantedFeatures.filter((feature) => given.features.has(feature));
    const facts = adapterFacts(given.adapterInfo, given, features);
    return { device: given, facts, keepAlive: given, shared: true, matrices: matricesOf(given.adapterInfo, given) };
  }
  const entry: GpuEntry = options.gpu
    ? { gpu: options.gpu, keepAlive: options.gpu }
    : await openGpu(togglesFor(options), options.adapter);
  const adapter = await askForAdapter(entry.gpu, options.powerPreference ?? 'high-performance').catch(
    (error: Error) => {
      if (options.adapter === undefined) throw error;
      const names = [...error.message.matchAll(/name: '([^']*)'/g)].map(([, name]) => name); // Dawn lists those that it has
      throw new Error(
        `useWebgpu: expected an adapter with '${options.adapter}' in its name, got ${names.join(', ') || 'none'}`,
        { cause: error },
      );
    },
  );
  if (!adapter) {
    throw new Error(
      'webgpu: expected an adapter, got none; install a Vulkan, Metal or Direct3D 12 driver (without a GPU: lavapipe, ' +
        'Mesa 25 or newer, package mesa-vulkan-drivers)',
    );
  }
  if (isCpuAdapter(adapter.info)) {
    const missing = missingDriver();
    const name = nameOf(adapter.info);
    if (options.requireGpu)
      throw new Error(
        `useWebgpu: expected a GPU, got ${name}; ${missing?.cure ?? "install the GPU's Vulkan, Metal or Direct3D 12 driver, or leave requireGpu out"}`,
      );
    if (missing) console.warn(`webgpu: ${missing.device} is there, but the adapter is ${name}; ${missing.cure}`);
  }
  const features: GPUFeatureName[] = wantedFeatures.filter((feature) => adapter.features.has(feature));
  const asked = options.experimental?.subgroupMatrices ? [matrixFeature as GPUFeatureName] : [];
  features.push(...asked.filter((feature) => adapter.features.has(feature)));
  const requiredLimits = Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name]]));
  const device = await adapter.requestDevice({ requiredFeatures: [...features], requiredLimits });
  const facts = adapterFacts(adapter.info, device, features);
  return { device, facts, keepAlive: [entry.keepAlive, adapter], matrices: matricesOf(adapter.info, device) };
}

/** Dawn's toggles with those that experiments need. */
export const togglesFor = ({ toggles, experimental }: DeviceOptions): DawnToggles => ({
  ...(experimental?.subgroupMatrices && { allow_unsafe_apis: true }),
  ...toggles,
});

export const matrixFeature: string = 'chromium-experimental-subgroup-matrix';

interface MatrixConfig extends SubgroupMatrix {
  readonly componentType: string;
  readonly resultComponentType: string;
}

/** Of the adapter's subgroup matrices those from float16 to float32, largest first. */
function matricesOf(
  info: GPUAdapterInfo & { readonly subgroupMatrixConfigs?: Iterable<MatrixConfig> },
  { features }: GPUDevice,
): SubgroupMatrix[] {
  if (!features.has(matrixFeature)) return [];
  return [...(info.subgroupMatrixConfigs ?? [])]
    .filter((config) => config.componentType === 'f16' && config.resultComponentType === 'f32')
    .map(({ M, N, K }) => ({ M, N, K }))
    .sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K);
}

/** A browser has no adapter while its GPU process starts, or starts again after a crash: it is asked for two seconds. */
async function askForAdapter(gpu: GPU, powerPreference: GPUPowerPreference): Promise<GPUAdapter | null> {
  const asked = gpu === globalThis.navigator?.gpu ? 5 : 1;
  for (let i = 1; ; i++) {
    const adapter = await gpu.requestAdapter({ powerPreference });
    if (adapter || i === asked) return adapter;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

const nameOf = ({ description, device, vendor, architecture }: GPUAdapterInfo): string =>
  description || device || [vendor, architecture].filter(Boolean).join(' ') || 'unnamed adapter';

const isCpuAdapter = (info: GPUAdapterInfo): boolean =>
  Boolean(info.isFallbackAdapter) ||
  /llvmpipe|lavapipe|swiftshader/i.test(`${nameOf(info)} ${info.device} ${info.architecture}`);

function adapterFacts(info: GPUAdapterInfo, device: GPUDevice, features: readonly string[]): AdapterFacts {
  const { vendor, architecture, subgroupMinSize, subgroupMaxSize } = info;
  const leastSubgroup = features.includes('subgroups') ? subgroupMinSize : 0;
  return {
    name: nameOf(info),
    vendor,
    architecture,
    isCpu: isCpuAdapter(info),
    subgroupSize: subgroupMinSize === subgroupMaxSize ? leastSubgroup : 0,
    leastSubgroup,
    storageBuffers: device.limits.maxStorageBuffersPerShaderStage,
    maxBindingBytes: Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize),
    features,
    subgroupTiles: [],
    subgroupAttention: [],
  };
}
