import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
const snippets = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, text]) => text!);

test.each([
  ['of named weights and their files', snippets[0]!, ['size: 8', 'Tensor']],
  ['of differentiation', snippets[1]!, ["16 ] [ 'first', 'last' ]"]],
])('the snippet %s runs', async (_, snippet, printed) => {
  const folder = await mkdtemp(join(import.meta.dirname, 'readme-'));
  try {
    await writeFile(join(folder, 'snippet.mts'), snippet);
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--conditions=@slimsam/source', '--import', 'tsx', 'snippet.mts'],
      { cwd: folder },
    );
    for (const text of printed) expect(stdout).toContain(text);
  } finally {
    await rm(folder, { recursive: true });
  }
});
