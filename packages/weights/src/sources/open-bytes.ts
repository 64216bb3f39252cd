import { addressOf, type ByteSource, type FileSource, type OpenOptions } from './byte-source.ts';
import { openHttp } from './http-source.ts';
import { MissingFile } from './missing-file.ts';
import { openRegularFile } from './regular-file.ts';

/** Opens a file for reads in pieces. @throws when there is none, naming it */
export async function openBytes(source: FileSource, options: OpenOptions = {}): Promise<ByteSource> {
  if (source instanceof Uint8Array) return openMemory(source);
  if (source instanceof Blob) return openBlob(source, options);
  const address = addressOf(source);
  return address ? openHttp(address, options) : openPath(source, options);
}

function openMemory(bytes: Uint8Array): ByteSource {
  return {
    name: 'the given bytes',
    overlaps: false,
    size: bytes.length,
    read: async (start, end) => bytes.subarray(start, end),
    close: async () => {},
  };
}

/** Reads slice by slice: a File's bytes stay on its disk until then. */
function openBlob(blob: Blob, { onProgress, signal }: OpenOptions): ByteSource {
  const { size } = blob;
  const name = 'name' in blob ? `'${String(blob.name)}'` : 'the given Blob';
  let loaded = 0;
  return {
    ...{ name, size, overlaps: true },
    async read(start, end) {
      signal?.throwIfAborted();
      const bytes = await blob
        .slice(start, end)
        .arrayBuffer()
        .catch((error) => unreadable(name, error));
      loaded = Math.min(size, loaded + bytes.byteLength);
      onProgress?.({ file: name, loaded, total: size });
      return new Uint8Array(bytes);
    },
    close: async () => {},
  };
}

async function openPath(path: string | URL, { onProgress, signal }: OpenOptions): Promise<ByteSource> {
  const name = String(path);
  const quoted = `'${name}'`;
  const file = await openRegularFile(path).catch((error) => unreadable(quoted, error));
  const { size } = await file.stat();
  let loaded = 0;
  return {
    name,
    size,
    overlaps: true,
    async read(start, end) {
      signal?.throwIfAborted();
      const bytes = new Uint8Array(end - start);
      let filled = 0; // in pieces, since one read stops at 2 GiB
      while (filled < bytes.length) {
        const length = Math.min(2 ** 30, bytes.length - filled);
        const { bytesRead } = await file
          .read(bytes, filled, length, start + filled)
          .catch((error) => unreadable(quoted, error));
        if (bytesRead === 0)
          throw new Error(`openBytes: expected ${size} bytes in ${quoted}, got ${start + filled}; truncated?`);
        filled += bytesRead;
      }
      loaded = Math.min(size, loaded + filled);
      onProgress?.({ file: name, loaded, total: size });
      return bytes;
    },
    close: () => file.close(),
  };
}

/** The whole of a file, or undefined when there is none. @throws when there is one that cannot be read */
export async function readIfThere(source: FileSource, options: OpenOptions = {}): Promise<Uint8Array | undefined> {
  let file: ByteSource;
  try {
    file = await openBytes(source, options);
  } catch (error) {
    if (error instanceof MissingFile) return undefined;
    throw error;
  }
  try {
    return await file.read(0, file.size);
  } finally {
    await file.close();
  }
}

function unreadable(name: string, error: unknown): never {
  const message = `openBytes: expected a readable file, got ${systemError(error)} for ${name}`;
  const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
  throw missing ? new MissingFile(message, { cause: error }) : new Error(message, { cause: error });
}

/** A system error in words. A browser's errors have a number as their code, which says nothing. */
export function systemError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.message;
  const words: Record<string, string> = {
    ENOSPC: 'a full disk (ENOSPC); free some space',
    EDQUOT: 'a full quota (EDQUOT); free some space',
    ENOENT: 'no such file or folder (ENOENT)',
    ENOTDIR: 'a file where a folder should be (ENOTDIR)',
    EISDIR: 'a folder (EISDIR)',
    EEXIST: 'a file there (EEXIST)',
    EPERM: 'no permission (EPERM)',
    EACCES: 'no permission (EACCES)',
    EROFS: 'a read-only disk (EROFS)',
  };
  return words[code] ?? code;
}
