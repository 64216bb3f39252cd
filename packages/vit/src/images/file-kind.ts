import { checkFields } from '@slimsam/weights';

/** What Node's `Stats` and `Dirent` tell. */
export interface FileFacts {
  isDirectory(): boolean;
  isFIFO(): boolean;
  isFile(): boolean;
  isSocket(): boolean;
  isSymbolicLink(): boolean;
}

/** Names what is at a path, for messages. */
export function fileKind(facts: FileFacts): string {
  checkFields('fileKind', facts, { isFile: 'function' });
  if (facts.isFile()) return 'a file';
  if (facts.isDirectory()) return 'a folder';
  if (facts.isFIFO()) return 'a FIFO';
  if (facts.isSocket()) return 'a socket';
  return facts.isSymbolicLink() ? 'a symbolic link' : 'a device';
}
