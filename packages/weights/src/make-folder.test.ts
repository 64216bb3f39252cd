import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeFolder } from './make-folder.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'make-folder-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('makes what is missing, and says what it was', async () => {
  expect(await makeFolder(join(folder, 'a/b/c'))).toBe(join(folder, 'a'));
  expect(await makeFolder(join(folder, 'a/b/d'))).toBe(join(folder, 'a/b/d'));
  expect(await makeFolder(join(folder, 'a/b'))).toBeUndefined();
  expect(await readdir(join(folder, 'a/b'))).toEqual(['c', 'd']);
  const both = await Promise.all([makeFolder(join(folder, 'e/f')), makeFolder(join(folder, 'e/f'))]);
  expect(both).toContain(join(folder, 'e'));
});

test('a file in the way is named', async () => {
  await writeFile(join(folder, 'file'), '');
  const words = (name: string, got: string) =>
    `makeFolder: expected '${join(folder, name)}' to be a folder or to become one, got ${got}`;
  await expect(makeFolder(join(folder, 'file'))).rejects.toThrow(words('file', 'a file there (EEXIST)'));
  await expect(makeFolder(join(folder, 'file/x'))).rejects.toThrow(words('file/x', 'a file where a folder should be'));
});

// Node's own recursive mkdir hangs there, for ever
test.runIf(process.platform === 'linux')('nothing can be made below /proc, which is said at once', async () => {
  await expect(makeFolder('/proc/run/of-mine')).rejects.toThrow(
    "makeFolder: expected '/proc/run/of-mine' to be a folder or to become one, got no such file or folder (ENOENT)",
  );
});
