import { fileURLToPath } from 'node:url';
import { checkFields } from '@slimsam/weights';
import { importQueue } from '../queue-package.ts';
import { openFolderStore } from './folder-store.ts';
import type { Store } from './store.ts';

/**
 * Opens a store: a folder's path or `file:` address, or `s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME` with the keys in the
 * environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), for which `@slimsam/queue` is installed.
 *
 * @throws when the address is of no known kind, or what it names is out of reach
 */
export async function openStore(location: string): Promise<Store> {
  checkFields('openStore', { location }, { location: 'string' });
  if (location.startsWith('s3://')) return (await importQueue('--store')).openS3Store(location);
  if (/^file:/.test(location)) return openFolderStore(fileURLToPath(location));
  if (/^\w[\w+.-]+:\/\//.test(location))
    throw new Error(`--store: expected a folder or s3://BUCKET/PREFIX, got '${location.replace(/\/\/.*@/, '//…@')}'`);
  return openFolderStore(location);
}
