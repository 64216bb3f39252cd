import { randomUUID } from 'node:crypto';
import { copyFile, link, open, opendir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { makeFolder } from '@slimsam/weights';
import { checkKey, type Store, type StoredThing } from './store.ts';

const temporary = /^\..*\.tmp$/;

/**
 * A store in a folder, also one that machines share. A thing is written beside its place and then linked to it, so that it is whole or
 * not there, and the first of two writers wins.
 *
 * @throws when the folder cannot be made
 */
export async function openFolderStore(folder: string): Promise<Store> {
  await makeFolder(folder).catch((error: Error) => {
    throw new Error(error.message.replace(/^makeFolder/, '--store'), { cause: error });
  });
  const at = (key: string) => path.join(folder, ...checkKey(key).split('/'));

  async function create(key: string, content: Uint8Array | { readonly file: string }): Promise<boolean> {
    const place = at(key);
    if (await exists(place)) return false;
    await makeFolder(path.dirname(place));
    const written = path.join(path.dirname(place), `.${randomUUID()}.tmp`);
    try {
      if ('file' in content) await copyFile(content.file, written);
      const handle = await open(written, 'file' in content ? 'r+' : 'wx');
      try {
        if (!('file' in content)) await handle.writeFile(content);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await moveTo(written, place);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return false;
      const cure = code === 'ENOSPC' || code === 'EDQUOT' ? "; free some space, or 'slimsam store gc' does" : '';
      throw new Error(`store: expected to write '${key}' to '${folder}', got ${reasonOf(error)}${cure}`, {
        cause: error,
      });
    } finally {
      await rm(written, { force: true });
    }
  }

  return {
    location: folder,
    create,
    has: async (key) => exists(at(key)),
    read: async (key) => readFile(at(key)).catch(missing(undefined)),
    async readFile(key, file) {
      return copyFile(at(key), file).then(() => true, missing(false));
    },
    list: (prefix) => listFolder(folder, prefix),
    remove: async (key) => rm(at(key), { force: true }),
  };
}

/** Links, or renames on disks without links, where the second of two equal things replaces the first. */
async function moveTo(written: string, place: string): Promise<void> {
  await link(written, place).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EPERM' || error.code === 'ENOTSUP' || error.code === 'ENOSYS') return rename(written, place);
    throw error;
  });
}

const missing =
  <T>(value: T) =>
  (error: NodeJS.ErrnoException): T => {
    if (error.code === 'ENOENT') return value;
    throw error;
  };

const exists = (file: string): Promise<boolean> => stat(file).then(() => true, missing(false));

const reasons: ReadonlyMap<string, string> = new Map([
  ['EACCES', 'no permission'],
  ['EROFS', 'a read-only disk'],
  ['ENOSPC', 'a full disk (ENOSPC)'],
  ['EDQUOT', 'a full quota (EDQUOT)'],
]);

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return reasons.get(code ?? '') ?? message;
}

async function* listFolder(folder: string, prefix: string): AsyncGenerator<StoredThing> {
  const within = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  const place = path.join(folder, ...within.split('/'));
  const entries = await opendir(place).catch(missing(undefined));
  if (!entries) return;
  for await (const entry of entries) {
    const key = `${within}${entry.name}`;
    if (temporary.test(entry.name) || !key.startsWith(prefix)) continue;
    if (entry.isDirectory()) yield* listFolder(folder, `${key}/`);
    else {
      const facts = await stat(path.join(place, entry.name)).catch(missing(undefined));
      if (facts) yield { key, bytes: facts.size, modified: facts.mtimeMs };
    }
  }
}
