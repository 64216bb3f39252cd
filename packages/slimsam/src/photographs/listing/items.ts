import type { RgbImage } from '@slimsam/vit/images';
import type { Entry, Listing } from './entry.ts';
import { listFiles } from './list-files.ts';

/** A photograph of a program's own source: a file's path, or its bytes, or its pixels, which stay in memory. */
export type PhotographItem =
  | string
  | { readonly name: string; readonly path: string }
  | { readonly name: string; readonly bytes: Uint8Array }
  | { readonly name: string; readonly image: RgbImage };

/** Lists what an iterable gives, in its order. @throws when an item is of none of the kinds */
export async function listItems(
  items: Iterable<PhotographItem> | AsyncIterable<PhotographItem>,
  { listing, signal }: { listing: Listing; signal: AbortSignal | undefined },
): Promise<void> {
  for await (const item of items) {
    signal?.throwIfAborted();
    if (typeof item === 'string') await listFile(item, item);
    else if ('path' in item) await listFile(item.name, item.path);
    else listing.entries.push(entryOf(item));
  }

  function listFile(name: string, path: string): Promise<void> {
    return listFiles([{ name, path }], { listing, followLinks: true, signal });
  }
}

function entryOf(item: Exclude<PhotographItem, string | { path: string }>): Entry {
  if ('bytes' in item && item.bytes instanceof Uint8Array) {
    return { name: item.name, source: { kind: 'encoded', bytes: item.bytes }, bytes: item.bytes.length, modified: 0 };
  }
  if ('image' in item) {
    const { width, height, data } = item.image;
    if (width >= 1 && height >= 1 && data.length === width * height * 3) {
      return { name: item.name, source: { kind: 'image', image: item.image }, bytes: data.length, modified: 0 };
    }
    throw new Error(
      `photographs: expected '${item.name}' with data [height, width, 3], got ${width} x ${height} pixels and ${data.length} bytes`,
    );
  }
  throw new Error(`photographs: expected items as paths or { name, path | bytes | image }, got ${typeof item}`);
}
