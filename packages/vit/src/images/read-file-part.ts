import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { fileKind } from './file-kind.ts';
import type { FilePart } from './image-source.ts';

/**
 * Reads a file, or a part of it. Opening never waits, as a FIFO without a writer would make it.
 *
 * @throws when the path is no regular file (a folder, FIFO, socket or device), cannot be read, or is not as long as told
 */
export async function readFilePart({ path, offset = 0, length, size }: FilePart): Promise<Uint8Array> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)); // Windows has no such flag
  try {
    const facts = await file.stat();
    if (!facts.isFile()) throw new Error(`${fileKind(facts)}, not a regular file`);
    if (size !== undefined && size !== facts.size) {
      throw new Error(`a file of ${facts.size} bytes, not of ${size} as before`);
    }
    const end = offset + (length ?? facts.size - offset);
    if (!(offset >= 0 && offset <= end && end <= facts.size)) {
      throw new Error(`a file of ${facts.size} bytes, which does not hold bytes ${offset} to ${end}`);
    }
    return await readAll(file, { offset, length: end - offset });
  } finally {
    await file.close();
  }
}

async function readAll(file: FileHandle, { offset, length }: { offset: number; length: number }): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) throw new Error(`a file that became ${length - done} bytes shorter`);
    done += bytesRead;
  }
  return bytes;
}
