import { type FileContent, makeFolder, type WritableFile, writeFileAtomic } from '@slimsam/weights';

/** A file to write: its path below the folder, and its bytes. */
export interface OutputFile {
  readonly path: string;
  readonly content: string | (() => AsyncIterable<Uint8Array>);
}

/** A folder of a browser's file system: a FileSystemDirectoryHandle. */
export interface WritableFolder {
  readonly name: string;
  getFileHandle(name: string, options: { create: boolean }): Promise<WritableFile>;
  getDirectoryHandle(name: string, options: { create: boolean }): Promise<WritableFolder>;
}

/**
 * Writes all files or none: into a temporary folder inside of the folder, then each to its place. In a browser's folder each file is
 * whole or as it was.
 *
 * @returns the paths; within a browser's folder
 * @throws when the folder cannot be made or a file cannot be written; what was there before stays, what was made is removed
 */
export async function writeFolder(folder: string | WritableFolder, files: readonly OutputFile[]): Promise<string[]> {
  if (typeof folder !== 'string') {
    for (const { path, content } of files) {
      const names = path.split('/');
      let place = folder;
      for (const name of names.slice(0, -1)) place = await place.getDirectoryHandle(name, { create: true });
      await writeFileAtomic(await place.getFileHandle(names.at(-1)!, { create: true }), contentOf(content));
    }
    return files.map(({ path }) => path);
  }
  const { dirname, join, mkdtemp, rename, rm } = await import('#node');
  let made: string | undefined;
  let temporary: string | undefined;
  try {
    made = await makeFolder(folder);
    temporary = await mkdtemp(join(folder, '.onnx-'));
    for (const { path, content } of files) {
      await makeFolder(dirname(join(temporary, path)));
      await writeFileAtomic(join(temporary, path), contentOf(content));
    }
    for (const { path } of files) {
      await makeFolder(dirname(join(folder, path)));
      await rename(join(temporary, path), join(folder, path));
    }
  } catch (error) {
    if (made) await rm(made, { recursive: true, force: true });
    if (!(error instanceof Error && 'code' in error)) throw error; // of the content, not of the folder
    throw new Error(`exportOnnx: expected a folder to write to at '${folder}', got ${error.message}`, { cause: error });
  } finally {
    if (temporary) await rm(temporary, { recursive: true, force: true });
  }
  return files.map(({ path }) => join(folder, path));
}

const contentOf = (content: OutputFile['content']): FileContent => (typeof content === 'string' ? content : content());
