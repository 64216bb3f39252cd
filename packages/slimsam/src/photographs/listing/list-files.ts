import { lstat, stat } from 'node:fs/promises';
import { fileKind } from '@slimsam/vit/images';
import type { Listing } from './entry.ts';

/** Files whose facts are asked for at once: a network disk answers late. */
const atOnce = 64;

/** Files by name and path: each becomes an entry, or is skipped when it is no regular file. */
export async function listFiles(
  files: readonly { readonly name: string; readonly path: string }[],
  { listing, followLinks, signal }: { listing: Listing; followLinks: boolean; signal: AbortSignal | undefined },
): Promise<void> {
  const look = followLinks ? stat : lstat;
  for (let at = 0; at < files.length; at += atOnce) {
    signal?.throwIfAborted();
    const some = files.slice(at, at + atOnce);
    const facts = await Promise.all(some.map(({ path }) => look(path).catch((error: Error) => error)));
    for (const [i, fact] of facts.entries()) {
      const { name, path } = some[i]!;
      if (fact instanceof Error) listing.skipped.push({ name, reason: fact.message });
      else if (fact.isFile()) {
        const part = { path, offset: 0, length: fact.size, size: fact.size };
        listing.entries.push({
          name,
          source: { kind: 'file', part },
          bytes: fact.size,
          modified: fact.mtimeMs,
        });
      } else listing.skipped.push({ name, reason: notRegular(fileKind(fact)) });
    }
  }
}

function notRegular(kind: string): string {
  const cure = kind === 'a symbolic link' ? '; a list file names what links lead to' : '';
  return `${kind}, not a regular file${cure}`;
}
