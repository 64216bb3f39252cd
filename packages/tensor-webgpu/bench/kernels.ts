/**
 * Our kernels and ops against tfjs-backend-webgpu, tfjs-backend-wasm, onnxruntime-node and jax-js, alternating in one process:
 *
 *     npm run bench:kernels [-- --filter attention --rounds 5 --json kernels.json]
 */
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { attentionCases } from './cases/attention.ts';
import type { Pass } from './cases/case.ts';
import { matmulCases } from './cases/matmul.ts';
import { rowCases } from './cases/rows.ts';
import { measure, type Row } from './measure.ts';
import { benchOptions } from './options.ts';
import { installPeers } from './peers/install.ts';
import { jaxJs } from './peers/jax.ts';
import { pretendBrowser } from './peers/navigator.ts';
import { onnxRuntime } from './peers/onnxruntime.ts';
import type { Runner } from './peers/runner.ts';
import { ours, tfjsWasm, tfjsWebgpu } from './peers/tfjs.ts';
import { meansText, rowText, writeJson } from './report.ts';

const { filter, rounds, json } = benchOptions({ rounds: 5 });
installPeers();
pretendBrowser();
const backend = await useWebgpu();
const adapter = backend.facts.name;
console.log(`${adapter}; medians of ${rounds}; "x" is how many times as long a peer takes`);

const runners: Runner[] = [ours(backend)];
const peers = [tfjsWebgpu, tfjsWasm, () => onnxRuntime('cpu'), () => onnxRuntime('webgpu'), jaxJs];
for (const open of peers) {
  try {
    runners.push(await open());
  } catch (error) {
    console.log(`a peer is left out: ${(error as Error).message}`);
  }
}

const cases = [...matmulCases, ...attentionCases, ...rowCases];
const rows: Row[] = [];
const passes: readonly Pass[] = ['forward', 'backward'];
for (const one of cases)
  for (const pass of passes) {
    if (!filter.test(`${one.name} ${pass}`)) continue;
    const reasons: string[] = [];
    const leftOut = (name: string, reason: string) => reasons.push(`    ${name} left out: ${reason.slice(0, 160)}`);
    const row = await measure(one, { pass, runners, rounds, leftOut });
    rows.push(row);
    console.log([rowText(row), ...reasons].join('\n'));
    if (json) await writeJson(json, { adapter, rows });
  }
console.log(meansText(rows, new Map(cases.map(({ name, family }) => [name, family]))));
backend.dispose();
process.exit(0); // the peers leave devices and timers behind
