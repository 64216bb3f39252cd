/**
 * Our kernels and ops against tfjs-backend-webgpu, tfjs-backend-wasm, onnxruntime-node and jax-js, alternating in one process:
 *
 *     npm run bench:kernels [-- --filter attention --rounds 5 --json kernels.json]
 */
import { attentionCases } from './cases/attention.ts';
import type { Pass } from './cases/case.ts';
import { matmulCases } from './cases/matmul.ts';
import { rowCases } from './cases/rows.ts';
import { measure, type Row } from './measure.ts';
import { benchOptions } from './options.ts';
import { openOurs, openRunners } from './peers/open.ts';
import { processor } from './processor.ts';
import { meansText, reasons, rowText, writeJson } from './report.ts';

const { filter, rounds, json } = benchOptions({ rounds: 5 });
const backend = await openOurs();
const runners = await openRunners(backend);
const adapter = backend.facts.name;
console.log(
  `${adapter} on ${processor(backend.facts)}; medians of ${rounds}; "x" is how many times as long a peer takes`,
);

const cases = [...matmulCases, ...attentionCases, ...rowCases];
const rows: Row[] = [];
const passes: readonly Pass[] = ['forward', 'backward'];
for (const one of cases)
  for (const pass of passes) {
    if (!filter.test(`${one.name} ${pass}`)) continue;
    const { lines, leftOut } = reasons();
    const row = await measure(one, { pass, runners, rounds, leftOut });
    rows.push(row);
    console.log([rowText(row), ...lines].join('\n'));
    if (json) await writeJson(json, { adapter, rows });
  }
console.log(meansText(rows, new Map(cases.map(({ name, family }) => [name, family]))));
backend.dispose();
process.exit(0); // the peers leave devices and timers behind
