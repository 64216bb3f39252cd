import path from 'node:path';
import { isTarName, type Listing } from './entry.ts';
import { listFiles } from './list-files.ts';

/**
 * Lists what a text file names: a path a line, relative to the list's folder; empty lines and those that begin with # are left out.
 * Links are followed: who writes a path means what it leads to.
 */
export async function listListFile(
  file: { readonly path: string; readonly text: string },
  { listing, signal }: { listing: Listing; signal: AbortSignal | undefined },
): Promise<void> {
  const folder = path.dirname(file.path);
  const names = file.text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const tar = names.find(isTarName);
  if (tar)
    throw new Error(`photographs: expected images in the list '${file.path}', got the tar '${tar}'; open its folder`);
  const files = names.map((name) => ({ name, path: path.resolve(folder, name) }));
  await listFiles(files, { listing, followLinks: true, signal });
}
