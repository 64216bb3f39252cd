/** A WebGPU entry point, and whatever must stay alive as long as it is used. */
export interface GpuEntry {
  readonly gpu: GPU;
  /** Dawn crashes when the object that made the adapter is garbage-collected; hold this as long as the device lives. */
  readonly keepAlive: unknown;
}

/**
 * Opens WebGPU: `navigator.gpu` where there is one, else Dawn through the `webgpu` package.
 *
 * Nothing is put on `globalThis`.
 *
 * @throws when neither is there, with the cure
 */
export async function openGpu(): Promise<GpuEntry> {
  const navigatorGpu = globalThis.navigator?.gpu as GPU | undefined;
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
  const gpu = dawn.create(['disable-dawn-features=timestamp_quantization']); // else kernels are timed in steps of 65 us
  return { gpu, keepAlive: gpu };
}
