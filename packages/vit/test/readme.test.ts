import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('runs the snippet of the README', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const snippet = /```ts\n([\s\S]*?)```/.exec(readme)![1]!;
  const folder = await mkdtemp(join(import.meta.dirname, 'readme-'));
  try {
    await writeFile(join(folder, 'snippet.mts'), snippet);
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--conditions=@slimsam/source', '--import', 'tsx', 'snippet.mts'],
      { cwd: folder },
    );
    expect(stdout).toContain('3 masks of 4800 pixels');
    expect(stdout).toMatch(/[1-9]\d* masks on [1-9]\d* pixels; [1-9]\d* runs/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
