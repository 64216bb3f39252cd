/**
 * Asks Dawn for an adapter and a device, runs one dispatch, and prints one line of JSON: { name } or { error }.
 *
 * It runs in a process of its own because drivers may crash or hang.
 */
import { writeSync } from 'node:fs';

/** @param {{ name: string } | { error: string }} result @returns {never} */
function finish(result) {
  writeSync(1, `${JSON.stringify(result)}\n`);
  process.exit(0); // at once: some drivers crash when they are taken down
}

try {
  const { create } = await import('webgpu');
  const gpu = create([]);
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw new Error('no adapter');
  const { description, device: model, vendor, architecture } = adapter.info;
  const device = await adapter.requestDevice();
  const code =
    '@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n@compute @workgroup_size(1) fn main() { x[0] = 7u; }';
  const pipeline = device.createComputePipeline({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code }) },
  });
  const buffer = device.createBuffer({ size: 4, usage: 0x80 | 0x4 }); // STORAGE | COPY_SRC
  const copy = device.createBuffer({ size: 4, usage: 0x1 | 0x8 }); // MAP_READ | COPY_DST
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(
    0,
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer } }],
    }),
  );
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(buffer, 0, copy, 0, 4);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(1);
  const [value] = new Uint32Array(copy.getMappedRange());
  if (value !== 7) finish({ error: `the dispatch gave ${value} instead of 7` });
  finish({ name: description || model || [vendor, architecture].filter(Boolean).join(' ') || 'unnamed adapter' });
} catch (error) {
  finish({ error: error instanceof Error ? error.message : String(error) });
}
