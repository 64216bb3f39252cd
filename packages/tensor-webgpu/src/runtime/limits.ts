import type { AdapterFacts } from '../device/open-device.ts';
import type { Program } from '../program/program.ts';
import type { Shader } from '../program/shader.ts';

const mostWorkgroups = 65535; // a dimension, on every adapter

/** @throws when the adapter does not allow so many inputs and outputs */
export function checkBindingCount({ label, inputs, outputs }: Shader, { name, storageBuffers }: AdapterFacts): void {
  const bindings = inputs.length + outputs.length;
  if (bindings > storageBuffers)
    throw new Error(
      `${label}: expected at most ${storageBuffers} inputs and outputs on ${name}, got ${bindings}; use two kernels`,
    );
}

/** @throws when no adapter allows so many workgroups */
export function checkWorkgroups({ shader, workgroups }: Program): void {
  const [x, y, z] = workgroups;
  if (x > mostWorkgroups || y > mostWorkgroups || z > mostWorkgroups)
    throw new Error(
      `${shader.label}: expected at most ${mostWorkgroups} workgroups a dimension, got [${workgroups}]; fold them into two`,
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
