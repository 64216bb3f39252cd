/** Times of the programs for a class of matmuls. */
export interface Timings {
  /** Of each program, by its name; first the one that is taken untuned. */
  readonly milliseconds: Readonly<Record<string, number>>;
  /** The program that is taken. */
  readonly winner: string;
}

/** Where a text is kept. */
interface Place {
  readonly name: string;
  read(): Promise<string | undefined>;
  /** All or nothing. */
  write(text: string): Promise<void>;
}

/** Timings of an adapter; `programs` is the text of all that were timed: with other programs they are not found. */
interface Cache {
  find(matmul: string, programs: string): Promise<Timings | undefined>;
  keep(matmul: string, programs: string, timings: Timings): Promise<void>;
}

/** Adapters, then classes of matmuls. */
type Known = Record<string, Record<string, Timings & { readonly programs: string }>>;

const mark = '{"format":"slimsam tuned"';

/** @throws when something else is kept there, or it cannot be read */
export async function openCache(where: string | false | undefined, adapter: string): Promise<Cache> {
  const place = where === false ? undefined : placeOf(where);
  const read = async (): Promise<Known> => {
    const text = (await place?.read()) || mark;
    if (!text.startsWith(mark))
      throw new Error(
        `tune: expected times that tune wrote in '${place?.name}', got '${text.slice(0, 20)}'; remove it or give another cache`,
      );
    try {
      return JSON.parse(text).known ?? {};
    } catch {
      return {}; // cut short, or new: it is written anew
    }
  };
  await read();
  return {
    async find(matmul, programs) {
      const { [adapter]: { [matmul]: found } = {} } = await read();
      if (found?.programs !== (await digest(programs))) return undefined;
      const { milliseconds, winner } = found;
      return { milliseconds, winner };
    },
    async keep(matmul, programs, timings) {
      const known = await read(); // others may have written meanwhile
      known[adapter] = { ...known[adapter], [matmul]: { programs: await digest(programs), ...timings } };
      await place?.write(`${mark},"known":${JSON.stringify(known)}}\n`);
    },
  };
}

function placeOf(where: string | undefined): Place | undefined {
  const builtin = globalThis.process?.getBuiltinModule; // no import: bundles for browsers hold none of Node's modules
  if (builtin) {
    const { join, resolve } = builtin('node:path');
    const { XDG_CACHE_HOME = join(builtin('node:os').homedir(), '.cache') } = process.env;
    return filePlace(resolve(where ?? join(XDG_CACHE_HOME, 'slimsam', 'tuned.json')), builtin);
  }
  const name = where ?? 'slimsam-tuned';
  const storage = globalThis.localStorage as Storage | undefined; // workers have none
  return (
    storage && {
      name,
      read: async () => storage.getItem(name) ?? undefined,
      write: async (text) => storage.setItem(name, text),
    }
  );
}

function filePlace(name: string, builtin: typeof process.getBuiltinModule): Place {
  const files = builtin('node:fs/promises');
  return {
    name,
    read: () =>
      files.readFile(name, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw new Error(`tune: expected to read '${name}', got ${error.code}; give another cache`, { cause: error });
      }),
    async write(text) {
      const temporary = `${name}.${crypto.randomUUID()}.tmp`;
      try {
        await files.mkdir(builtin('node:path').dirname(name), { recursive: true });
        await files.writeFile(temporary, text);
        await files.rename(temporary, name);
      } catch (error) {
        await files.rm(temporary, { force: true }).catch(() => {});
        const { code } = error as NodeJS.ErrnoException;
        throw new Error(`tune: expected to write '${name}', got ${code}; give another cache, or false`, {
          cause: error,
        });
      }
    },
  };
}

/** SHA-256, as hexadecimal digits. */
async function digest(text: string): Promise<string> {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
