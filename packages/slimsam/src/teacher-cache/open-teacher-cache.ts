import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checkFields, makeFolder, writeFileAtomic } from '@slimsam/weights';
import type { TeacherCache } from './teacher-cache.ts';

export interface TeacherCacheOptions {
  /** What the embeddings depend on besides a photograph's name: the teacher's weights, the photographs' identity, their size. */
  readonly key: Readonly<Record<string, string | number>>;
  /** The most bytes in the folder; 10 GiB unless given. SAM-B's embedding of a photograph takes 2 MiB. */
  readonly limit?: number;
}

/**
 * A cache of a teacher's embeddings in a folder, one file for each photograph. It never grows beyond its limit: embeddings under other
 * keys leave, the oldest first, when room is wanted; those of this key stay, for each epoch reads all of them, and further ones are not
 * kept.
 *
 * Photographs that are augmented have one for each of their views (see `Augment`).
 *
 * @throws when the limit is not a number of bytes, or the folder cannot be made
 */
export async function openTeacherCache(folder: string, options: TeacherCacheOptions): Promise<TeacherCache> {
  checkFields('openTeacherCache', { folder }, { folder: 'string' });
  checkFields('openTeacherCache', options, { key: 'object' });
  const { key, limit = 10 * 2 ** 30 } = options;
  if (!(limit >= 0)) throw new Error(`openTeacherCache: expected a limit of 0 bytes or more, got ${limit}`);
  const own = hashed(JSON.stringify(Object.entries(key).sort()));
  const place = join(folder, own);
  await makeFolder(place);
  const others = (await foldersIn(folder)).filter(({ name }) => name !== own).sort((a, b) => a.time - b.time);
  let bytes = (await sizeOf(place)) + others.reduce((sum, { size }) => sum + size, 0);
  const pathOf = (name: string) => join(place, `${hashed(name)}.safetensors`);
  return {
    async get(name) {
      try {
        return await readFile(pathOf(name));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    async put(name, content) {
      bytes += content.length; // before anything is awaited: others put at the same time
      while (bytes > limit && others.length > 0) {
        const oldest = others.shift()!;
        bytes -= oldest.size;
        await rm(join(folder, oldest.name), { recursive: true, force: true });
      }
      if (bytes > limit) bytes -= content.length;
      else await writeFileAtomic(pathOf(name), content);
    },
  };
}

const hashed = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32);

/** The folders of other keys: their names, bytes and times of the last change. */
async function foldersIn(folder: string): Promise<{ name: string; size: number; time: number }[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const keys = entries.filter((entry) => entry.isDirectory() && /^[0-9a-f]{32}$/.test(entry.name));
  return Promise.all(
    keys.map(async ({ name }) => {
      const path = join(folder, name);
      return { name, size: await sizeOf(path), time: (await stat(path)).mtimeMs };
    }),
  );
}

async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
