import type { FileHandle } from 'node:fs/promises';
import { checkFields } from '../check-fields.ts';

/**
 * Opens a file for reading, in Node. Opening never waits, as a FIFO without a writer would make it.
 *
 * @throws the system's error, or one with its codes when the path is a folder (EISDIR), FIFO, socket or device
 */
export async function openRegularFile(path: string | URL): Promise<FileHandle> {
  checkFields('openRegularFile', { path }, { path: 'path' });
  const { constants, open } = await import('#node');
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)); // Windows has no such flag
  const facts = await file.stat();
  if (facts.isFile()) return file;
  await file.close();
  if (facts.isDirectory()) throw Object.assign(new Error('a folder, not a file'), { code: 'EISDIR' });
  throw new Error(`${facts.isFIFO() ? 'a FIFO' : facts.isSocket() ? 'a socket' : 'a device'}, not a regular file`);
}

/** The UTF-8 text of a regular file, without a byte order mark. @throws as `openRegularFile` */
export async function readTextFile(path: string | URL): Promise<string> {
  const file = await openRegularFile(path);
  try {
    return new TextDecoder().decode(await file.readFile());
  } finally {
    await file.close();
  }
}
