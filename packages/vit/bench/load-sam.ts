/**
 * Seconds and memory of loading a SAM-B of random weights, written to a temporary folder:
 * npx tsx --conditions=@slimsam/source packages/vit/bench/load-sam.ts
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { initSam, loadSam, samPresets, saveSam } from '../src/index.ts';
import { measureLoads } from './measure-loads.ts';

const backend = await useWebgpu();
const [, script, given] = process.argv;
if (given) await printMemory(given);
else {
  const folder = await mkdtemp(join(tmpdir(), 'load-sam-'));
  const path = join(folder, 'sam-b.safetensors');
  try {
    const { config, sizes } = samPresets['sam-vit-base'];
    const start = performance.now();
    await saveSam(path, { weights: initSam(config, sizes, { seed: 1 }), config });
    const seconds = (performance.now() - start) / 1000;
    console.log(`made and saved ${(await stat(path)).size} bytes in ${seconds.toFixed(2)} s`);
    // of a process of its own: memory that this one has freed would hide the peak
    execFileSync(process.execPath, [...process.execArgv, script!, path], { stdio: 'inherit' });
    const words = (times: number[]) => times.map((time) => time.toFixed(2)).join(' ');
    const { loads, plain, ratio } = await measureLoads(path, 7);
    console.log(`loadSam ${words(loads)} s; plain read ${words(plain)} s; ratio of the medians ${ratio.toFixed(2)}`);
  } finally {
    await rm(folder, { recursive: true });
  }
}
backend.dispose();

/** The most resident memory while loading, by Linux's own count. */
async function printMemory(path: string): Promise<void> {
  if (process.platform !== 'linux') return;
  const before = process.memoryUsage().rss;
  await loadSam(path);
  const status = await readFile('/proc/self/status', 'utf8');
  const peak = Number(/VmHWM:\s+(\d+)/.exec(status)![1]) * 1024;
  console.log(`peak ${((peak - before) / 2 ** 20).toFixed(0)} MiB above ${(before / 2 ** 20).toFixed(0)} MiB`);
}
