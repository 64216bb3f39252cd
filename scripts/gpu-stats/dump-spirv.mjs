/**
 * Compiles the WGSL texts of stdin, a JSON list, with Dawn, which prints each text and its SPIR-V. Any Vulkan adapter serves; nothing runs.
 * It is a process of its own because Dawn prints to stdout.
 */
import { readFileSync } from 'node:fs';
import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);
/** @type {string[]} */
const texts = JSON.parse(readFileSync(0, 'utf8'));
const gpu = create(['enable-dawn-features=dump_shaders']);
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error('gpu:stats: expected a Vulkan adapter, got none');
/** @type {GPUFeatureName[]} */
const wanted = ['shader-f16', 'subgroups'];
const device = await adapter.requestDevice({
  requiredFeatures: wanted.filter((name) => adapter.features.has(name)),
  requiredLimits: { maxStorageBuffersPerShaderStage: adapter.limits.maxStorageBuffersPerShaderStage },
});
for (const code of texts) {
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code });
  await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } }).catch(() => {});
  const error = await device.popErrorScope();
  if (error) console.error(error.message);
}
device.destroy();
