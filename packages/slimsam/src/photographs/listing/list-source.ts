import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileKind } from '@slimsam/vit/images';
import { listCoco } from './coco.ts';
import { isImageName, isTarName, type Listing } from './entry.ts';
import { listFolder } from './folder.ts';
import { listItems, type PhotographItem } from './items.ts';
import { listListFile } from './list-file.ts';
import { listFiles } from './list-files.ts';
import { listTar } from './tar.ts';

/**
 * A folder, a tar shard, a COCO file (.json), a list file (any other text), one image, or an iterable of them in a program.
 */
export type PhotographLocation = string | Iterable<PhotographItem> | AsyncIterable<PhotographItem>;

/** Lists a source by the facts of its files: nothing is decoded. @throws when it is missing or of no known kind */
export async function listSource(
  source: PhotographLocation,
  { images, signal }: { images: string | undefined; signal: AbortSignal | undefined },
): Promise<Listing> {
  const listing: Listing = { entries: [], skipped: [], passedOver: 0 };
  if (typeof source !== 'string') {
    await listItems(source, { listing, signal });
    return listing;
  }
  const facts = await stat(source).catch((error: Error) => {
    throw new Error(`photographs: expected a folder, list, tar or COCO file, got ${error.message}`, { cause: error });
  });
  const name = path.basename(source);
  if (facts.isDirectory()) await listFolder(source, { listing, signal });
  else if (!facts.isFile()) {
    throw new Error(`photographs: expected a folder or a regular file, got ${fileKind(facts)} at '${source}'`);
  } else if (isTarName(name)) await listTar({ name: '', path: source }, { listing, signal });
  else if (isImageName(name)) await listFiles([{ name, path: source }], { listing, followLinks: true, signal });
  else await listText(source, { listing, images, signal });
  return listing;
}

async function listText(
  file: string,
  { listing, images, signal }: { listing: Listing; images: string | undefined; signal: AbortSignal | undefined },
): Promise<void> {
  const isJson = /\.json$/i.test(file);
  const bytes = await readFile(file);
  const isUtf16 = bytes[0] === 0xff && bytes[1] === 0xfe; // as PowerShell writes
  if (!isJson && !isUtf16 && bytes.subarray(0, 4096).includes(0)) {
    const kinds = 'a folder, an image, a .tar, a COCO .json or a list file (a path a line)';
    throw new Error(`photographs: expected ${kinds}, got bytes that are no text in '${file}'`);
  }
  const text = new TextDecoder(isUtf16 ? 'utf-16le' : 'utf-8').decode(bytes); // without a byte order mark
  if (isJson) await listCoco({ path: file, text }, { listing, images, signal });
  else await listListFile({ path: file, text }, { listing, signal });
}
