/**
 * Seconds and memory of loading a SAM-B of random weights, written to a temporary folder:
 * npx tsx --expose-gc --conditions=@slimsam/source packages/vit/bench/load-sam.ts
 */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { disposeWeights } from '@slimsam/weights';
import { initSam, loadSam, samPresets, saveSam } from '../src/index.ts';
import { measureLoads } from './measure-loads.ts';

const backend = await useWebgpu();
const folder = await mkdtemp(join(tmpdir(), 'load-sam-'));
try {
  const path = join(folder, 'sam-b.safetensors');
  const { config, sizes } = samPresets['sam-vit-base'];
  const weights = initSam(config, sizes, { seed: 1 });
  const start = performance.now();
  await saveSam(path, { weights, config });
  console.log(`saved ${(await stat(path)).size} bytes in ${((performance.now() - start) / 1000).toFixed(2)} s`);
  disposeWeights(weights);
  if (process.platform === 'linux') await measureMemory(path);
  const words = (seconds: number[]) => seconds.map((second) => second.toFixed(2)).join(' ');
  const { loads, plain, ratio } = await measureLoads(path, 7);
  console.log(`loadSam ${words(loads)} s; plain read ${words(plain)} s; ratio of the medians ${ratio.toFixed(2)}`);
} finally {
  backend.dispose();
  await rm(folder, { recursive: true });
}

/** The most resident memory while loading, by Linux's own count. */
async function measureMemory(path: string): Promise<void> {
  globalThis.gc!();
  await writeFile('/proc/self/clear_refs', '5'); // starts the high-water mark anew
  const before = process.memoryUsage().rss;
  const { weights } = await loadSam(path);
  const status = await readFile('/proc/self/status', 'utf8');
  const peak = Number(/VmHWM:\s+(\d+)/.exec(status)![1]) * 1024;
  console.log(`peak ${((peak - before) / 2 ** 20).toFixed(0)} MiB above ${(before / 2 ** 20).toFixed(0)} MiB`);
  disposeWeights(weights);
}
