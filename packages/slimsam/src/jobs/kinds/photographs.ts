import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { openPhotographs } from '../../photographs/open-photographs.ts';
import type { Photographs } from '../../photographs/photographs.ts';
import { hashSchema } from '../job.ts';
import { getBlob, getJson, putBlob } from '../store/blobs.ts';
import type { Store } from '../store/store.ts';

/** Photographs in the store: their names, which seeds and files go by, and their files' blobs. */
const photographsSchema: z.ZodType<StoredPhotographs> = z.strictObject({
  /** `identity` of all of them together. */
  identity: z.string().max(200),
  photographs: z
    .array(
      z.strictObject({
        name: z.string().max(4000),
        /** The place in the list that noise is seeded by. */
        place: z.int().min(0),
        blob: hashSchema,
      }),
    )
    .min(1),
});

export interface StoredPhotographs {
  readonly identity: string;
  readonly photographs: readonly StoredPhotograph[];
}

interface StoredPhotograph {
  readonly name: string;
  readonly place: number;
  readonly blob: string;
}

/** Keeps photographs' files in the store, each once, and gives them in the order of the indices. */
export async function storePhotographs(
  photographs: Photographs,
  { store, indices, signal }: { store: Store; indices: readonly number[]; signal?: AbortSignal | undefined },
): Promise<StoredPhotographs['photographs']> {
  if (!photographs.file) throw new Error('storePhotographs: expected photographs of files, got pixels in memory');
  const found: StoredPhotograph[] = [];
  for (const [place, index] of indices.entries()) {
    signal?.throwIfAborted();
    found.push({ name: photographs.names[index]!, place, blob: await putBlob(store, await photographs.file(index)) });
  }
  return found;
}

/** Keeps a list of stored photographs. @returns its blob's hash */
export function storeList(store: Store, list: StoredPhotographs): Promise<string> {
  return putBlob(store, JSON.stringify(photographsSchema.parse(list)));
}

/** Keeps all photographs. @returns the hash of their list */
export async function storeAll(
  photographs: Photographs,
  { store, signal }: { store: Store; signal?: AbortSignal | undefined },
): Promise<string> {
  const indices = photographs.names.map((_, index) => index);
  const stored = await storePhotographs(photographs, { store, indices, signal });
  return storeList(store, { identity: photographs.identity, photographs: stored });
}

/** Opens the photographs of a list, from files that are there while `use` runs. */
export async function withStored<T>(
  hash: string,
  { store, folder: parent, signal }: { store: Store; folder: string; signal: AbortSignal },
  use: (photographs: Photographs, list: StoredPhotographs) => Promise<T>,
): Promise<T> {
  const list = await getJson(store, hash, { schema: photographsSchema, what: 'a list of photographs' });
  const folder = await mkdtemp(path.join(parent, 'photographs-'));
  try {
    const files = new Map<string, string>();
    for (const { blob } of list.photographs) {
      signal.throwIfAborted();
      if (files.has(blob)) continue;
      const file = path.join(folder, blob);
      await writeFile(file, await getBlob(store, blob));
      files.set(blob, file);
    }
    const items = list.photographs.map(({ name, blob }) => ({ name, path: files.get(blob)! }));
    const opened = await openPhotographs(items, { signal });
    try {
      return await use({ ...opened, identity: list.identity }, list);
    } finally {
      await opened.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
