import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { format } from 'node:util';
import { generateScenes } from '@slimsam/scenes';
import { initSam, samPresets, saveSam } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { readmeFolders, readmeSnippets } from '../scripts/readme-snippets.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const all = readmeSnippets();
/** The whole of TensorFlow.js is not installed here: npm run test:runtimes runs its snippet, and all others, from tarballs. */
const snippets = all.filter(({ text }) => !text.includes("from '@tensorflow/tfjs'"));

/** Inside of the repository, so that imports of the packages resolve. */
const generated = path.join(root, '.cache/readme');
const start = process.cwd();
let work = '';

beforeAll(async () => {
  rmSync(generated, { recursive: true, force: true });
  mkdirSync(generated, { recursive: true });
  for (const { name, text } of snippets) writeFileSync(path.join(generated, `${name}.mts`), text);
  const config = { extends: '../../tsconfig.check.json', include: ['*.mts'] };
  writeFileSync(path.join(generated, 'tsconfig.json'), JSON.stringify(config));
  // what slimsam's lines read: a SAM and photographs of the user's own
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-readme-'));
  process.chdir(work);
  await tf.setBackend('cpu');
  const { config: sam, sizes } = samPresets.tiny;
  await saveSam('sam.safetensors', { config: sam, weights: initSam(sam, sizes, { seed: 1 }) });
  await generateScenes({ folder: 'photographs', count: 8, seed: 1, size: 64 });
  await generateScenes({ folder: 'labelled', count: 2, seed: 2, size: 64 });
});

afterAll(() => {
  process.chdir(start);
  rmSync(generated, { recursive: true, force: true });
  rmSync(work, { recursive: true, force: true });
});

test.each(readmeFolders())('%s has a README with a snippet', (folder) => {
  expect(all.map(({ readme }) => readme)).toContain(folder === '.' ? 'root' : path.basename(folder));
});

test('the snippets have the right types', () => {
  const tsc = path.join(root, 'node_modules/.bin/tsc');
  const { status, stdout } = spawnSync(tsc, ['-p', generated], { cwd: root, encoding: 'utf8', timeout: 100_000 });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});

test.each(all.filter(({ readme }) => readme !== 'root'))(
  '$readme: the install lines name what $name imports',
  (snippet) => {
    const imported = [...snippet.text.matchAll(/(?:from|import) '((?:@[^/']+\/)?[^/']+)[^']*'/g)].map(
      ([, name]) => name!,
    );
    const ours = imported.filter((name) => !name.startsWith('node:'));
    expect(ours.filter((name) => !snippet.installs.includes(name))).toEqual([]);
  },
);

/** What some of them print, apart from spaces. */
const prints = new Map<string, RegExp[]>([
  ['prune-1', [/^2048 -> 1024 /, /parameters\s+\| 2,048 \|\s+1,\d+ \|/, /\{ hidden: 0\.5 \}/]],
  ['tensor-webgpu-3', [/2, 2, 2, 2, 2, 2/]],
  ['vit-1', [/^\[ -?[\d.]+ \] \d+ bytes of a PNG/]],
  ['vit-2', [/[1-9]\d* masks on [1-9]\d* pixels; [1-9]\d* runs/]],
  ['vit-3', [/4800 logits; stable \[/, /2 masks refined/]],
  ['vit-4', [/3 scores in half precision/]],
  ['vit-5', [/vision_encoder_fp16\.onnx/]],
  ['vit-6', [/\[ 1, 21, 16 \] \[ 1, 16 \] \[ 1, 16, 4, 4 \] \[ 1, 21, 16 \] \[ 1, 10 \] 2 attentions/]],
  ['vit-7', [/2 blocks, all global/]],
  ['weights-1', [/size: 8/, /Tensor/]],
  ['weights-2', [/16 \] \[ 'first', 'last' \]/]],
]);

let output = '';
beforeEach(async () => {
  output = '';
  vi.spyOn(console, 'log').mockImplementation((...values) => {
    output += `${format(...values)}\n`;
  });
  await tf.setBackend('cpu'); // as in a process of its own, the one that a snippet imports
  return () => vi.restoreAllMocks();
});

test.each(snippets)('snippet $name runs', async ({ name }) => {
  await import(pathToFileURL(path.join(generated, `${name}.mts`)).href);
  for (const printed of prints.get(name) ?? []) expect(output.replaceAll(/\s+/g, ' ')).toMatch(printed);
});
