import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = path.join(root, 'node_modules/.bin');
const folders = ['.', ...readdirSync(path.join(root, 'packages')).map((name) => `packages/${name}`)];
const name = (folder: string): string => path.basename(path.resolve(root, folder));

/** Inside of the repository, so that imports of the packages resolve. */
const generated = path.join(root, '.cache/readme');
let work = '';

beforeAll(() => {
  rmSync(generated, { recursive: true, force: true });
  mkdirSync(generated, { recursive: true });
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-readme-'));
  for (const folder of folders) {
    const readme = path.join(root, folder, 'README.md');
    const snippet = existsSync(readme) ? /```ts\n([\s\S]*?)```/.exec(readFileSync(readme, 'utf8'))?.[1] : undefined;
    if (snippet) writeFileSync(path.join(generated, `${folder === '.' ? 'root' : name(folder)}.mts`), snippet);
  }
  // what slimsam's lines read: a SAM and photographs of the user's own
  const files = `
    import { generateScenes } from '@slimsam/scenes';
    import '@tensorflow/tfjs-backend-cpu';
    import { initSam, samPresets, saveSam } from '@slimsam/vit';
    const { config, sizes } = samPresets.tiny;
    await saveSam('sam.safetensors', { config, weights: initSam(config, sizes, { seed: 1 }) });
    await generateScenes({ folder: 'photographs', count: 8, seed: 1, size: 64 });
    await generateScenes({ folder: 'labelled', count: 2, seed: 2, size: 64 });
  `;
  writeFileSync(path.join(generated, 'files.mts'), files);
  expect(run(path.join(bin, 'tsx'), ['--conditions=@slimsam/source', path.join(generated, 'files.mts')], work)).toBe(
    'ended well',
  );
  rmSync(path.join(generated, 'files.mts'));
  const config = { extends: '../../tsconfig.check.json', include: ['*.mts'] };
  writeFileSync(path.join(generated, 'tsconfig.json'), JSON.stringify(config));
});

afterAll(() => {
  rmSync(generated, { recursive: true, force: true });
  rmSync(work, { recursive: true, force: true });
});

/** Ends well, or gives its output. */
function run(program: string, parameters: string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(program, parameters, { cwd, encoding: 'utf8', timeout: 100_000 });
  return status === 0 ? 'ended well' : `${stdout}${stderr}`;
}

test.each(folders)('%s has a README with a snippet', (folder) => {
  const readme = path.join(root, folder, 'README.md');
  expect(existsSync(readme), `${folder}/README.md`).toBe(true);
  expect(readFileSync(readme, 'utf8')).toMatch(/```ts\n/);
});

test('the snippets have the right types', () => {
  expect(run(path.join(bin, 'tsc'), ['-p', generated], root)).toBe('ended well');
});

test.each(folders)('the snippet of %s runs', (folder) => {
  const file = path.join(generated, `${folder === '.' ? 'root' : name(folder)}.mts`);
  expect(run(path.join(bin, 'tsx'), ['--conditions=@slimsam/source', file], work)).toBe('ended well');
});
