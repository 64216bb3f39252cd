import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import { median } from '../../packages/tensor-webgpu/bench/measure.ts';
import { arithmeticCeiling } from '../../packages/tensor-webgpu/src/watching/ceiling.wgsl.ts';

const busyMs = 150; // an H100 that was idle for 100 ms runs at a sixth of its rate
const burstMs = 100;
const mostInBurst = 40;

/** Runs so many times in a row, and waits once. */
export type Run = (times?: number) => Promise<unknown>;

/** Keeps a GPU at work for a while, so that its clock is up when a timing begins right after it. CPU adapters are left alone. */
export async function keepBusy(backend: WebgpuBackend): Promise<void> {
  if (backend.facts.isCpu) return;
  const work = arithmeticCeiling({ groups: 2048, rounds: 512 });
  const seed = backend.makeTensor(new Float32Array(1024).fill(0.5), [1024], 'float32');
  const end = performance.now() + busyMs;
  while (performance.now() < end) {
    for (let n = 0; n < 4; n++) {
      const made = backend.run(work, [seed], [{ shape: [work.workgroups[0] * 256], dtype: 'float32' }]);
      backend.disposeData(made[0]!.dataId);
    }
    await backend.sync();
  }
  backend.disposeData(seed.dataId);
}

/** How many runs make a burst that is long against a wait; one on a CPU adapter. */
export async function burstOf(backend: WebgpuBackend, run: Run): Promise<number> {
  if (backend.facts.isCpu) return 1;
  const start = performance.now();
  await run(2);
  const once = (performance.now() - start) / 2;
  return Math.max(1, Math.min(mostInBurst, Math.floor(burstMs / once)));
}

/** Milliseconds a run, the median of bursts that begin with the clock up. */
export async function timeOf(
  backend: WebgpuBackend,
  run: Run,
  { runs, rounds }: { runs: number; rounds: number },
): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await keepBusy(backend);
    const start = performance.now();
    await run(runs);
    times.push((performance.now() - start) / runs);
  }
  return Number(median(times).toPrecision(4));
}
