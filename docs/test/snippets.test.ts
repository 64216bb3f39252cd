import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { generateScenes } from '@slimsam/scenes';
import { initSam, samPresets, saveSam } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { blocks, pages, root } from './pages.ts';

/** Inside of the repository, so that imports of the packages resolve. */
const generated = path.join(root, '.cache/docs');
let work = '';

beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-docs-'));
  mkdirSync(generated, { recursive: true });
  mkdirSync(path.join(work, 'out/slim50'), { recursive: true });
  const { config, sizes } = samPresets.tiny;
  await saveSam(path.join(work, 'out/slim50/slim.safetensors'), {
    config,
    weights: initSam(config, sizes, { seed: 1 }),
  });
  await generateScenes({ folder: path.join(work, 'photographs'), count: 3, seed: 1, size: 400 });
});
afterAll(() => {
  rmSync(work, { recursive: true, force: true });
  rmSync(generated, { recursive: true, force: true });
});

/** Runs the snippets of a page of docs/ in a folder with a SAM and photographs; what they print. */
function run(name: string, { index, then = '' }: { index: number; then?: string }): string {
  const file = path.join(generated, `${name}-${index}.ts`);
  const snippet = blocks(pages.find((page) => page.file === `docs/${name}.md`)!, 'ts')[index]!;
  writeFileSync(file, `${snippet.replace('photo.jpg', 'photographs/sa_1.jpg')}\n${then}`);
  const loader = pathToFileURL(path.join(root, 'node_modules/tsx/dist/loader.mjs')).href;
  const options = ['--conditions=@slimsam/source', '--import', loader, file];
  const { FORCE_COLOR, ...env } = process.env; // vitest sets it
  return execFileSync(process.execPath, options, { cwd: work, encoding: 'utf8', env });
}

test('write a kernel', () => {
  expect(run('write-a-kernel', { index: 0 })).toMatch(/\[ 2, 4, 6 \]/);
});

test('write an architecture', () => {
  expect(run('write-an-architecture', { index: 0 })).toBe('8\n67 -> 27 [ 1, 3 ]\n');
});

test('write a criterion', () => {
  const then = `
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { loadSam } from '@slimsam/vit';
import { openPhotographs } from 'slimsam/node';
const backend = await useWebgpu();
const photographs = await openPhotographs('photographs');
await tryIt(await loadSam('out/slim50/slim.safetensors'), photographs);
await photographs.close();
backend.dispose();`;
  expect(run('write-a-criterion', { index: 0, then })).toMatch(/^\d+ 0\.\d+$/m);
});

test('compress your own SAM: a slim model like any other', () => {
  expect(run('compress-your-sam', { index: 0 })).toMatch(/^3 \[/);
});
