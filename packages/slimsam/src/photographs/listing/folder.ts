import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { isHidden, isImageName, isTarName, type Listing } from './entry.ts';
import { listFiles } from './list-files.ts';
import { listTar } from './tar.ts';

/** Lists a folder and those within it: images, and the images in tar shards. Links are not followed, so that no folder is met twice. */
export async function listFolder(
  folder: string,
  { listing, signal }: { listing: Listing; signal: AbortSignal | undefined },
): Promise<void> {
  const images: { name: string; path: string }[] = [];
  const tars: { name: string; path: string }[] = [];

  async function walk(inside: string): Promise<void> {
    signal?.throwIfAborted();
    const found = await readdir(path.join(folder, inside), { withFileTypes: true }).catch((error: Error) => {
      listing.skipped.push({ name: inside, reason: error.message });
      return [];
    });
    found.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of found) {
      if (isHidden(entry.name)) continue;
      const name = inside === '' ? entry.name : `${inside}/${entry.name}`;
      if (isImageName(entry.name)) images.push({ name, path: path.join(folder, name) });
      else if (entry.isDirectory()) await walk(name);
      else if (isTarName(entry.name) && entry.isFile()) tars.push({ name, path: path.join(folder, name) });
      else if (entry.isSymbolicLink()) listing.skipped.push({ name, reason: 'a symbolic link; name what it leads to' });
      else listing.passedOver++;
    }
  }

  await walk('');
  await listFiles(images, { listing, followLinks: false, signal });
  for (const tar of tars) {
    await listTar(tar, { listing, signal }).catch((error: Error) => {
      signal?.throwIfAborted();
      listing.skipped.push({ name: tar.name, reason: error.message });
    });
  }
}
