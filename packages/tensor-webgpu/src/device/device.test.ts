import { expect, test, vi } from 'vitest';
import { createWebgpuBackend } from '../index.ts';
import { type DawnToggles, dawnOptions } from './dawn.ts';
import { missingDriver } from './missing-driver.ts';

test('toggles of Dawn: its own unless changed, and an unknown one is one error with the cure', async () => {
  expect(dawnOptions({})).toEqual([
    'enable-dawn-features=vulkan_enable_f16_on_nvidia',
    'disable-dawn-features=timestamp_quantization',
  ]);
  expect(dawnOptions({ vulkan_enable_f16_on_nvidia: false, disable_workgroup_init: true })).toEqual([
    'enable-dawn-features=disable_workgroup_init',
    'disable-dawn-features=vulkan_enable_f16_on_nvidia,timestamp_quantization',
  ]);
  const unknown = { no_such_toggle: true } as DawnToggles;
  await expect(createWebgpuBackend({ toggles: unknown })).rejects.toThrow(
    /expected toggles of Dawn among .*, got no_such_toggle; for others/,
  );
});

test('a machine with a GPU and no driver is told', () => {
  const having = (path: string) => ({ existsSync: (asked: string) => asked === path });
  expect(missingDriver(having('/dev/nvidia0'))?.cure).toMatch('libnvidia-gl');
  expect(missingDriver(having('/dev/dri/renderD128'))?.cure).toMatch('mesa-vulkan-drivers');
  expect(missingDriver(having('/dev/null'))).toBeUndefined();
});

/** An entry point with one adapter, which has no device. */
const entry = (info: Partial<GPUAdapterInfo>): GPU =>
  Object.assign(Object.create(null), {
    requestAdapter: async () => ({
      info: { vendor: '', architecture: '', device: '', description: '', ...info },
      features: new Set(),
      limits: {},
      requestDevice: () => Promise.reject(new Error('a device is asked for')),
    }),
  });

test('requireGpu refuses a CPU adapter before a device is made', async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const cpu = entry({ description: 'llvmpipe (LLVM 15.0.6, 256 bits)' });
  await expect(createWebgpuBackend({ gpu: cpu, requireGpu: true })).rejects.toThrow(
    'useWebgpu: expected a GPU, got llvmpipe (LLVM 15.0.6, 256 bits); ',
  );
  await expect(createWebgpuBackend({ gpu: cpu })).rejects.toThrow('a device is asked for');
  const gpu = entry({ description: 'NVIDIA H100' });
  await expect(createWebgpuBackend({ gpu, requireGpu: true })).rejects.toThrow('a device is asked for');
  vi.restoreAllMocks();
});

test('a browser whose GPU process is just starting is asked again; another entry point is not', async () => {
  const adapter = await entry({ description: 'late' }).requestAdapter();
  const requestAdapter = vi.fn().mockResolvedValueOnce(null).mockResolvedValue(adapter);
  const late = Object.assign(Object.create(null), { requestAdapter }) as GPU;
  await expect(createWebgpuBackend({ gpu: late })).rejects.toThrow('expected an adapter, got none');
  requestAdapter.mockClear().mockResolvedValueOnce(null);
  vi.stubGlobal('navigator', { gpu: late });
  try {
    await expect(createWebgpuBackend()).rejects.toThrow('a device is asked for');
  } finally {
    vi.unstubAllGlobals();
  }
  expect(requestAdapter).toHaveBeenCalledTimes(2);
});
