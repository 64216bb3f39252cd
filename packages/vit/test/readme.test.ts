import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('runs the snippets of the README, one after another', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const snippets = Array.from(readme.matchAll(/```ts\n([\s\S]*?)```/g), ([, code]) => code!);
  const folder = await mkdtemp(join(import.meta.dirname, 'readme-'));
  const run = async (code: string) => {
    await writeFile(join(folder, 'snippet.mts'), code);
    const parameters = ['--conditions=@slimsam/source', '--import', 'tsx', 'snippet.mts'];
    return (await promisify(execFile)(process.execPath, parameters, { cwd: folder })).stdout;
  };
  try {
    expect(snippets).toHaveLength(2);
    const first = await run(snippets[0]!);
    expect(first).toContain('3 masks of 4800 pixels');
    expect(first).toMatch(/[1-9]\d* masks on [1-9]\d* pixels; [1-9]\d* runs/);
    const second = await run(snippets[1]!);
    expect(second).toContain('4800 logits; stable [');
    expect(second).toContain('2 masks refined');
    expect(second).toContain('[ 1, 4, 4, 16 ]');
  } finally {
    await rm(folder, { recursive: true });
  }
});
