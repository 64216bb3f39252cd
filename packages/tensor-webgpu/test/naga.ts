import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

interface Text {
  readonly label: string;
  readonly code: string;
  /** Read and checked only, not translated. */
  readonly readOnly?: boolean;
}

/** What naga found: `without` counts texts in half precision where the adapter has none. */
interface Found {
  readonly checked: number;
  readonly without: number;
  readonly errors: readonly string[];
}

/** Runs in Deno, whose WebGPU is wgpu: naga reads, checks and translates the texts. SwiftShader compiles a pipeline at once, in seconds: there none is made. */
const program = (file: string) => `
const adapter = await navigator.gpu.requestAdapter();
if (!adapter) throw new Error('Deno: expected a WebGPU adapter, got none');
const half = adapter.features.has('shader-f16');
const { maxStorageBuffersPerShaderStage } = adapter.limits;
const device = await adapter.requestDevice({
  requiredFeatures: half ? ['shader-f16'] : [],
  requiredLimits: { maxStorageBuffersPerShaderStage },
});
const translates = !adapter.info.description.includes('SwiftShader');
const found = { checked: 0, without: 0, errors: [] };
for (const { label, code, readOnly } of JSON.parse(Deno.readTextFileSync(${JSON.stringify(file)}))) {
  if (!half && code.includes('enable f16')) { found.without++; continue; }
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ label, code });
  if (translates && !readOnly) device.createComputePipeline({ label, layout: 'auto', compute: { module } });
  const error = await device.popErrorScope();
  if (error) found.errors.push(label + ': ' + error.message);
  found.checked++;
}
console.log(JSON.stringify(found));
Deno.exit(0);`;

/**
 * A text without its subgroup functions: each value is the invocation's own. naga reads the rest then; of `enable subgroups` it says that it is
 * not implemented yet, and neither Deno's adapter nor Firefox's has the feature, so that neither is ever given such a text.
 */
export const withoutSubgroups = (code: string): string =>
  code
    .replace('enable subgroups;\n', '')
    .replace('@builtin(subgroup_invocation_id)', '@builtin(local_invocation_index)')
    .replace(/\b(?:subgroupShuffleXor|subgroupBroadcast|quadBroadcast)\(([^(),]*), \d+u\)/g, '($1)')
    .replace(/\bquadSwap[XY]\(/g, '(');

/** What naga says of shader texts that need no subgroups, by Deno from npm on this machine's Vulkan adapter. */
export async function checkByNaga(texts: readonly Text[]): Promise<Found> {
  const deno = path.join(path.dirname(createRequire(import.meta.url).resolve('deno/package.json')), 'bin.cjs');
  const folder = await mkdtemp(path.join(tmpdir(), 'naga-'));
  try {
    const [file, main] = [path.join(folder, 'texts.json'), path.join(folder, 'main.mjs')];
    await writeFile(file, JSON.stringify(texts));
    await writeFile(main, program(file));
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [deno, 'run', '--allow-read', '--no-config', '--unstable-webgpu', main],
      { maxBuffer: 2 ** 26 },
    );
    return JSON.parse(stdout);
  } finally {
    await rm(folder, { recursive: true });
  }
}
