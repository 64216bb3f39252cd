import { checkFields } from './check-fields.ts';

/** What a file is to hold. */
export type FileContent = Uint8Array | string | AsyncIterable<Uint8Array>;

/** A stream into a file, which is replaced when the stream is closed: a FileSystemWritableFileStream. */
interface FileStream {
  write(data: Uint8Array<ArrayBuffer> | string): Promise<void>;
  close(): Promise<void>;
  abort(): Promise<void>;
}

/** A file of a browser's file system, its own ("origin private") or one that its user chose: a FileSystemFileHandle. */
export interface WritableFile {
  readonly name: string;
  createWritable(): Promise<FileStream>;
}

/** Where a file goes: a path in Node, a handle in browsers. */
export type FileTarget = string | WritableFile;

/** @throws when it is neither a path nor a file's handle */
export function checkTarget(call: string, target: FileTarget): void {
  if (typeof target !== 'string') checkFields(call, target, { name: 'string', createWritable: 'function' });
}

/** For errors. */
export const nameOf = (target: FileTarget): string => (typeof target === 'string' ? target : target.name);

/** Writes all of the content, or leaves the file as it was. @throws when it cannot be written, such as beyond the storage quota */
export async function writeHandle(file: WritableFile, content: FileContent): Promise<void> {
  const stream = await file.createWritable().catch((error) => unwritable(file, error));
  const write = (data: Uint8Array | string) =>
    stream.write(typeof data === 'string' ? data : new Uint8Array(data)).catch((error) => unwritable(file, error));
  try {
    if (typeof content === 'string' || content instanceof Uint8Array) await write(content);
    else for await (const chunk of content) await write(chunk);
  } catch (error) {
    await stream.abort().catch(() => {});
    throw error;
  }
  await stream.close().catch((error) => unwritable(file, error));
}

function unwritable({ name }: WritableFile, error: unknown): never {
  const reason = error instanceof Error ? error : new Error(String(error));
  const full = reason.name === 'QuotaExceededError';
  const got = full ? "a full storage quota; free some space, or remove this site's other data" : reason.message;
  throw new Error(`writeFileAtomic: expected to write to '${name}', got ${got}`, { cause: error });
}
