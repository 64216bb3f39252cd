/**
 * What SAMs cost in a page: `slimsam costs` in headless Chromium, whose WebGPU adapter is SwiftShader, a CPU.
 *
 *     npm run bench:chromium -- models/sam-s models/sam-s-slim50 [--rounds 5] [--json costs.json]
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadSam, saveSam } from '@slimsam/vit';
import { disposeWeights } from '@slimsam/weights';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import Table from 'cli-table3';
import { Command } from 'commander';
import { build } from 'esbuild';
import sharp from 'sharp';
import { parse } from 'slimsam/node';
import type { ModelCosts } from '../packages/slimsam/src/evaluate/measure-costs.ts';
import { writeJson } from '../packages/tensor-webgpu/bench/report.ts';
import { withPage } from '../scripts/runtimes/page.mjs';

const program = new Command('chromium-costs')
  .description('parameters, memory and latency of SAMs in headless Chromium, the models in turns')
  .argument('<models...>', 'files or folders of SAMs')
  .option('--rounds <n>', 'that count', parse.positiveInteger, 5)
  .option('--json <file>', 'where the figures go too', parse.path)
  .parse();
const models = program.processedArgs[0] as string[];
const { rounds, json } = program.opts<{ rounds: number; json?: string }>();

const code = `
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { loadSam } from '@slimsam/vit';
import { measureCosts } from './measure-costs.ts';
window.measure = async ({ names, rounds }) => {
  const backend = await useWebgpu();
  const sams = new Map();
  for (const [i, name] of names.entries()) sams.set(name, await loadSam(new URL(i + '.safetensors', location.href).href));
  const { vendor, description } = backend.device.adapterInfo;
  return { adapter: description || vendor, costs: Object.fromEntries(await measureCosts(sams, { image: new URL('photo.jpg', location.href).href, rounds })) };
};
`;

const work = await mkdtemp(path.join(tmpdir(), 'slimsam-chromium-'));
try {
  await tf.setBackend('cpu');
  for (const [i, model] of models.entries()) {
    const sam = await loadSam(path.resolve(model));
    await saveSam(path.join(work, `${i}.safetensors`), sam, { dtype: 'F16' });
    disposeWeights(sam.weights);
  }
  await sharp({ create: { width: 1024, height: 683, channels: 3, background: '#808080' } })
    .jpeg()
    .toFile(path.join(work, 'photo.jpg'));
  await build({
    stdin: { contents: code, resolveDir: path.join(import.meta.dirname, '../packages/slimsam/src/evaluate') },
    ...{ bundle: true, format: 'esm', platform: 'browser', conditions: ['@slimsam/source'] },
    outfile: path.join(work, 'page.js'),
  });
  await writeFile(path.join(work, 'index.html'), '<script type="module" src="page.js"></script>');
  const { version, adapter, costs } = await withPage([work], async (page) => {
    await page.waitForFunction('window.measure');
    const measured = (await page.evaluate(`window.measure(${JSON.stringify({ names: models, rounds })})`)) as {
      adapter: string;
      costs: Record<string, ModelCosts>;
    };
    return { ...measured, version: page.context().browser()!.version() };
  });
  const table = new Table({
    style: { head: [], border: [] },
    head: ['model', 'parameters', 'MACs, G', 'peak, MiB', 'encoder, ms (95 %)', 'prompt and decoder', 'masks'],
  });
  for (const [name, { parameters, macs, peakBytes, latency }] of Object.entries(costs)) {
    const times = (['encoder', 'prompt and decoder', 'masks'] as const).map((phase) => {
      const { median, p95 } = latency[phase]!;
      return `${median.toFixed(0)} (${p95.toFixed(0)})`;
    });
    table.push([
      ...[name, parameters.toLocaleString('en'), (macs / 1e9).toFixed(2)],
      ...[peakBytes === undefined ? '–' : (peakBytes / 2 ** 20).toFixed(0), ...times],
    ]);
  }
  console.log(`headless Chromium ${version} on ${adapter}\n${table}`);
  if (json) await writeJson(json, { browser: version, adapter, rounds, costs });
} finally {
  await rm(work, { recursive: true });
}
