import { existsSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { AdapterFacts } from '@slimsam/tensor-webgpu';

/**
 * The processor, the widest vector instructions that it says it has, and how wide a CPU adapter's vectors are, such as
 * `2 x AMD EPYC (AVX-512, vectors of 256 bits)`. Mesa takes it for one with
 * AVX2 at most when `GALLIUM_OVERRIDE_CPU_CAPS=avx` is set; then that is said.
 */
export function processor({ isCpu, subgroupSize }: AdapterFacts): string {
  const list = cpus();
  const flags = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  const widest = [
    ['avx512f', 'AVX-512'],
    ['avx2', 'AVX2'],
    ['asimd', 'NEON'],
  ].find(([flag]) => new RegExp(`\\b${flag}\\b`).test(flags))?.[1];
  const posing = process.env.GALLIUM_OVERRIDE_CPU_CAPS;
  const vectors = [
    ...(widest ? [widest] : []),
    ...(isCpu && subgroupSize > 0 ? [`vectors of ${32 * subgroupSize} bits`] : []),
    ...(posing ? [`posing as ${posing}`] : []),
  ].join(', ');
  return `${list.length} x ${list[0]?.model.trim() ?? 'unknown processor'}${vectors && ` (${vectors})`}`;
}
