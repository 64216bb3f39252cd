/** A WebGPU entry point, and whatever must stay alive as long as it is used. */
export interface GpuEntry {
  readonly gpu: GPU;
  /** Dawn crashes when the object that made the adapter is garbage-collected; hold this as long as the device lives. */
  readonly keepAlive: unknown;
}

/** Dawn's toggles that matter here, for Node. */
const knownToggles = {
  lazy_clear_resource_on_first_use: 'buffers are zeroed before they are first used (off: they are not)',
  disable_workgroup_init: 'workgroup memory is not zeroed',
  d3d_disable_ieee_strictness: 'Direct3D may reorder arithmetic',
  vulkan_enable_f16_on_nvidia: 'half precision on NVIDIA',
  enable_integer_range_analysis_in_robustness: 'fewer bounds checks',
  allow_unsafe_apis: 'experimental features',
  timestamp_quantization: 'timestamps in steps of 65 us',
} as const;

/** Which of Dawn's toggles to turn on or off, by name. */
export type DawnToggles = Readonly<Partial<Record<keyof typeof knownToggles, boolean>>>;

/** shader-f16 on NVIDIA takes a toggle, and kernels are timed in steps of 65 us with another. */
const ownToggles: DawnToggles = { vulkan_enable_f16_on_nvidia: true, timestamp_quantization: false };

/** The options of Dawn's `create`; `adapter` as in `openGpu`. @throws when Dawn has no such toggle, which it would not tell */
export function dawnOptions(toggles: DawnToggles, adapter?: string): string[] {
  for (const name of Object.keys(toggles)) {
    if (Object.hasOwn(knownToggles, name)) continue;
    throw new Error(
      `useWebgpu: expected toggles of Dawn among ${Object.keys(knownToggles).join(', ')}, got ${name}; for others give ` +
        'the entry point: gpu: create([...]) of the package webgpu',
    );
  }
  const all = Object.entries({ ...ownToggles, ...toggles });
  const option = (how: string, on: boolean) => {
    const names = all.filter(([, wanted]) => wanted === on).map(([name]) => name);
    return names.length > 0 ? [`${how}-dawn-features=${names.join(',')}`] : [];
  };
  const only = adapter === undefined ? [] : [`adapter=${adapter}`];
  return [...option('enable', true), ...option('disable', false), ...only];
}

/**
 * Opens WebGPU: `navigator.gpu` where there is one, else Dawn through the `webgpu` package.
 *
 * Nothing is put on `globalThis`.
 *
 * @param toggles of Dawn
 * @param adapter a part of the name of the only one that Dawn may give
 * @throws when neither is there, Dawn has no such toggle, or an adapter is named to a page's `navigator.gpu`, with the cure
 */
export async function openGpu(toggles: DawnToggles = {}, adapter?: string): Promise<GpuEntry> {
  const options = dawnOptions(toggles, adapter);
  const navigatorGpu = globalThis.navigator?.gpu as GPU | undefined;
  if (navigatorGpu && adapter !== undefined)
    throw new Error(
      `useWebgpu: expected no name of an adapter where there is navigator.gpu, got '${adapter}'; pages cannot choose one by name`,
    );
  if (navigatorGpu) return { gpu: navigatorGpu, keepAlive: undefined };
  let dawn: { create?(options: string[]): GPU };
  let cause: unknown;
  try {
    dawn = await import('webgpu');
  } catch (error) {
    dawn = {};
    cause = error;
  }
  // bundles for browsers hold an empty module in its place (package.json, "browser")
  if (!dawn.create)
    throw new Error(
      "webgpu: expected navigator.gpu or the npm package 'webgpu', got neither; in Node run `npm install webgpu`, in a browser " +
        'use one with WebGPU over https or localhost',
      { cause },
    );
  const gpu = dawn.create(options);
  return { gpu, keepAlive: gpu };
}
