import type { AdapterFacts } from '../device/open-device.ts';
import type { Program } from '../program/program.ts';

const mostWorkgroups = 65535; // a dimension, on every adapter

/** @throws when the adapter does not allow so many inputs and outputs, or so many workgroups */
export function checkLimits(
  { shader, workgroups }: Program,
  { device, facts }: { device: GPUDevice; facts: AdapterFacts },
): void {
  const { label, inputs, outputs } = shader;
  const bindings = inputs.length + outputs.length;
  const mostBindings = device.limits.maxStorageBuffersPerShaderStage;
  if (bindings > mostBindings)
    throw new Error(
      `${label}: expected at most ${mostBindings} inputs and outputs on ${facts.name}, got ${bindings}; use two kernels`,
    );
  if (workgroups.some((count) => count > mostWorkgroups))
    throw new Error(
      `${label}: expected at most ${mostWorkgroups} workgroups a dimension, got [${workgroups}]; fold them into two`,
    );
}

/** @throws when the adapter does not bind so large a tensor */
export function checkBinding(bytes: number, label: string, shape: readonly number[], facts: AdapterFacts): void {
  if (bytes <= facts.maxBindingBytes) return;
  throw new Error(
    `${label}: expected tensors of at most ${facts.maxBindingBytes} bytes on ${facts.name}, got [${shape}] of ${bytes} bytes; ` +
      'use smaller batches or images',
  );
}
