/**
 * SAM-B's encoder and a training step of SlimSAM-50 at 1024 x 1024, and blocks of ViT-B, against the peers that can do them:
 *
 *     npm run bench:block [-- --filter encode --rounds 3 --json block.json]
 */

import { useWebgpu } from '@slimsam/tensor-webgpu';
import type { Pass } from '../packages/tensor-webgpu/bench/cases/case.ts';
import { measure, type Row } from '../packages/tensor-webgpu/bench/measure.ts';
import { benchOptions } from '../packages/tensor-webgpu/bench/options.ts';
import { openOurs, openRunners } from '../packages/tensor-webgpu/bench/peers/open.ts';
import { processor } from '../packages/tensor-webgpu/bench/processor.ts';
import { reasons, rowText, writeJson } from '../packages/tensor-webgpu/bench/report.ts';
import { blockCases } from './cases/vit-block.ts';
import { watchMemory } from './memory-watch.ts';
import { type SamRow, samEncode, stageOneStep } from './sam.ts';

const { filter, rounds, json } = benchOptions({ rounds: 3 });
let backend = await openOurs();
const adapter = backend.facts.name;
console.log(
  `${adapter} on ${processor(backend.facts)}; medians of ${rounds}; "x" is how many times as long a peer takes`,
);

const rows: ((Row & { readonly peakBytes: number }) | SamRow)[] = [];
const keep = async (row: (typeof rows)[number], text: string) => {
  rows.push(row);
  console.log(text);
  if (json) await writeJson(json, { adapter, rows });
};

const MiB = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
// before the peers take memory of this process
const models = [
  { name: 'SAM-B encode 1024', run: samEncode, aim: 'within 30 s and 3 GiB' },
  { name: 'SlimSAM-50 stage-1 step 1024', run: stageOneStep, aim: 'within 120 s and 8 GiB' },
];
for (const { name, run, aim } of models) {
  if (!filter.test(name)) continue;
  const { lines, leftOut } = reasons();
  const row = await run(backend, { name, rounds, leftOut });
  const { live, allocated, binding, resident } = row.peak;
  const memory = `tensors ${MiB(live)}, allocated ${MiB(allocated)}, largest binding ${MiB(binding)}, process ${MiB(resident)} (aim: ${aim})`;
  await keep(row, [rowText(row), `    ${memory}`, ...lines].join('\n'));
}

backend.dispose(); // its pool keeps as much as the models took
backend = await useWebgpu();
const runners = await openRunners(backend);
const passes: readonly Pass[] = ['forward', 'backward'];
for (const one of blockCases)
  for (const pass of passes) {
    if (!filter.test(`${one.name} ${pass}`)) continue;
    const { lines, leftOut } = reasons();
    let row: Row | undefined;
    const peak = await watchMemory(backend, async () => {
      row = await measure(one, { pass, runners, rounds, leftOut });
    });
    await keep({ ...row!, peakBytes: peak.allocated }, [rowText(row!), ...lines].join('\n'));
  }

backend.dispose();
process.exit(0); // the peers leave devices and timers behind
