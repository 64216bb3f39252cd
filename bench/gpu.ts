/**
 * All that says how fast this machine's GPU is with the backend, in about three minutes: encodes of SAM-B, L and H in both precisions, steps of SlimSAM's
 * first stage, kernels with their share of the adapter's ceiling, JavaScript's part, beside the peers that are installed.
 *
 *     npm run bench:gpu [-- --json gpu.json --filter encode --peers]
 *     npm run bench:gpu -- --pack bench-gpu.tar.gz
 *
 * --peers installs the peers first. --pack makes an archive for a Linux machine that has a GPU and nothing else. On a CPU adapter, or with --small,
 * models and operands are tiny; --full runs them all there too.
 */
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { profile, useWebgpu } from '@slimsam/tensor-webgpu';
import { geometricMean } from '../packages/tensor-webgpu/bench/measure.ts';
import { installPeers } from '../packages/tensor-webgpu/bench/peers/install.ts';
import { pretendBrowser } from '../packages/tensor-webgpu/bench/peers/navigator.ts';
import { openRunners } from '../packages/tensor-webgpu/bench/peers/open.ts';
import { processor } from '../packages/tensor-webgpu/bench/processor.ts';
import { writeJson } from '../packages/tensor-webgpu/bench/report.ts';
import { dawnOptions } from '../packages/tensor-webgpu/src/device/dawn.ts';
import type { Bench } from './gpu/bench.ts';
import { keepBusy } from './gpu/clock.ts';
import { hostRows } from './gpu/host.ts';
import { kernelCaseRows } from './gpu/kernels.ts';
import { encodeRows, stepRows } from './gpu/models.ts';
import { type GpuReport, type GpuRow, rowLines, tableHead } from './gpu/rows.ts';

const { values: options } = parseArgs({
  options: {
    filter: { type: 'string', default: '' },
    json: { type: 'string' },
    pack: { type: 'string' },
    peers: { type: 'boolean', default: false },
    small: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
  },
});

if (options.pack !== undefined) {
  const { pack } = await import('./gpu/pack.ts');
  await pack(options.pack, commitOf());
} else await bench();

async function bench(): Promise<void> {
  const start = performance.now();
  if (options.peers) installPeers();
  pretendBrowser(dawnOptions({}));
  process.env.MESA_SHADER_CACHE_DISABLE ??= 'true'; // drivers read these when the device is opened: the first runs compile
  process.env.__GL_SHADER_DISK_CACHE ??= '0';
  const backend = await useWebgpu();
  const { facts } = backend;
  const small = options.small || (facts.isCpu && !options.full);
  console.log(`${facts.name} on ${processor(facts)}; ${facts.features.join(', ') || 'no features'}`);
  if (small)
    console.log(`tiny models and operands${options.small ? '' : ', as this adapter is a CPU: --full runs all'}`);
  const filter = new RegExp(options.filter, 'i');
  const rows: GpuRow[] = [];
  const write = async (ceiling: GpuReport['ceiling']): Promise<void> => {
    const report: GpuReport = {
      ...{ date: new Date().toISOString(), commit: commitOf(), node: process.version },
      ...{ processor: processor(facts), adapter: facts, ceiling, small, rows },
    };
    if (options.json) await writeJson(options.json, report);
  };
  await keepBusy(backend);
  const { ceiling } = await profile(backend, () => undefined);
  const most = `${(ceiling.flopsPerSecond / 1e12).toPrecision(3)} TFLOP/s of multiply-adds, ${(ceiling.bytesPerSecond / 1e9).toFixed(0)} GB/s of copies`;
  console.log(`at most ${most}\n${tableHead}`);
  const parts: Bench = {
    ...{ backend, small, wanted: (name) => filter.test(name) },
    async row(name, measure) {
      if (!filter.test(name)) return;
      let row: GpuRow;
      try {
        row = { case: name, ...(await measure()) };
      } catch (error) {
        row = { case: name, ms: 0, failed: (error as Error).message };
      }
      rows.push(row);
      console.log(rowLines(row));
      await write(ceiling);
    },
  };
  await encodeRows(parts, !small);
  await stepRows(parts);
  const runners = await openRunners(backend, 'webgpu');
  await hostRows(parts);
  await kernelCaseRows(parts, runners);
  console.log(meansText(rows));
  const failed = rows.filter((row) => row.failed !== undefined);
  console.log(`${rows.length} cases in ${Math.round((performance.now() - start) / 1000)} s, ${failed.length} failed`);
  backend.dispose();
  process.exit(failed.length > 0 ? 1 : 0); // the peers leave devices and timers behind
}

/** Geometric means of how many times as long each peer takes for matmul and attention, forward. */
function meansText(rows: readonly GpuRow[]): string {
  const ratios = new Map<string, number[]>();
  for (const row of rows) {
    if (!/^(matmul|attention) [^,]*$/.test(row.case)) continue;
    for (const [name, ms] of Object.entries(row.peers ?? {}))
      ratios.set(name, [...(ratios.get(name) ?? []), ms / row.ms]);
  }
  return Array.from(
    ratios,
    ([name, list]) =>
      `matmul and attention, forward: ${name} takes ${geometricMean(list).toFixed(2)} times as long over ${list.length} cases`,
  ).join('\n');
}

function commitOf(): string {
  if (process.env.SLIMSAM_COMMIT) return process.env.SLIMSAM_COMMIT; // of a pack
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown';
  }
}
