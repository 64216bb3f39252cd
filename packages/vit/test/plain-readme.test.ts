import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('runs the snippet on plain ViTs', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const snippet = /## Plain ViTs[\s\S]*?```ts\n([\s\S]*?)```/.exec(readme)![1]!;
  const folder = await mkdtemp(join(import.meta.dirname, 'readme-'));
  try {
    await writeFile(join(folder, 'snippet.mts'), snippet);
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--conditions=@slimsam/source', '--import', 'tsx', 'snippet.mts'],
      { cwd: folder },
    );
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('[ 1, 21, 16 ] [ 1, 16 ] [ 1, 16, 4, 4 ] [ 1, 21, 16 ] [ 1, 10 ]');
    expect(stdout).toContain('2 attentions');
  } finally {
    await rm(folder, { recursive: true });
  }
});
