import { checkFields } from './check-fields.ts';
import { systemError } from './sources/open-bytes.ts';

/**
 * Makes a folder, and those above it that are missing. Node's own recursive `mkdir` never ends below /proc, where nothing can be made and
 * the system says that a folder above is missing; here each step is tried once.
 *
 * @returns the topmost folder that was made, undefined when it was there
 * @throws when a file is in the way, or the system does not let it
 */
export async function makeFolder(folder: string): Promise<string | undefined> {
  checkFields('makeFolder', { folder }, { folder: 'string' });
  const { dirname, mkdir, resolve, stat } = await import('#node');
  const missing: string[] = [];
  const make = async (path: string) => {
    try {
      await mkdir(path);
    } catch (error) {
      const isThere = await stat(path).then(
        (found) => found.isDirectory(),
        () => false,
      );
      if (!isThere) throw error;
      return false; // another process may have made it meanwhile
    }
    return true;
  };
  const isMissing = (error: unknown) => error instanceof Error && 'code' in error && error.code === 'ENOENT';
  try {
    let top: string | undefined;
    for (let path = resolve(folder); ; path = dirname(path)) {
      try {
        if (await make(path)) top = path;
        break;
      } catch (error) {
        if (!isMissing(error) || dirname(path) === path) throw error;
        missing.unshift(path);
      }
    }
    for (const path of missing) if (await make(path)) top ??= path;
    return top;
  } catch (error) {
    throw new Error(
      `makeFolder: expected '${folder}' to be a folder or to become one, got ${systemError(error)}; take another folder`,
      { cause: error },
    );
  }
}
