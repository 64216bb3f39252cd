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
type Known = Map<string, Map<string, Entry>>;
type Entry = Timings & { readonly programs: string };

const format = 'slimsam tuned';
const version = 1;
const mark = `{"format":"${format}"`;

/**
 * The cache at `where`. One of ours that is damaged or of another version is written anew; a file of something else is left alone, and
 * where nothing can be read or written times are kept for this run only. Each is said once, as a warning.
 */
export async function openCache(where: string | false | undefined, adapter: string): Promise<Cache> {
  let place = where === false ? undefined : placeOf(where);
  const ownKnown: Known = new Map();
  const without = (expected: string, got: string): Known => {
    say(`tune: expected ${expected}, got ${got}; times are kept for this run only, give another cache`);
    place = undefined;
    return new Map();
  };
  const read = async (): Promise<Known> => {
    if (!place) return new Map();
    const { name } = place;
    let text: string | undefined;
    try {
      text = await place.read();
    } catch (error) {
      return without(`to read '${name}'`, reason(error));
    }
    if (!text) return new Map();
    if (!text.startsWith(mark)) return without(`times that tune wrote in '${name}'`, `'${text.slice(0, 20)}'`);
    const known = parsed(text);
    if (known) return known;
    say(`tune: expected times of version ${version} in '${name}', got damaged or other ones; they are measured anew`);
    return new Map();
  };
  const find = (known: Known, matmul: string) => known.get(adapter)?.get(matmul);
  await read(); // what is wrong is said before anything is timed
  return {
    async find(matmul, programs) {
      const found = find(ownKnown, matmul) ?? find(await read(), matmul);
      if (found?.programs !== (await digest(programs))) return undefined;
      const { milliseconds, winner } = found;
      return { milliseconds, winner };
    },
    async keep(matmul, programs, timings) {
      const entry = { programs: await digest(programs), ...timings };
      add(ownKnown, [adapter, matmul], entry);
      const known = await read(); // others may have written meanwhile
      for (const [name, entries] of ownKnown) for (const [key, own] of entries) add(known, [name, key], own);
      try {
        await place?.write(textOf(known));
      } catch (error) {
        without(`to write '${place?.name}'`, reason(error));
      }
    },
  };
}

function add(known: Known, [adapter, matmul]: readonly [string, string], entry: Entry): void {
  const entries = known.get(adapter) ?? new Map<string, Entry>();
  entries.set(matmul, entry);
  known.set(adapter, entries);
}

const textOf = (known: Known): string =>
  `${mark},"version":${version},"known":${JSON.stringify([...known].map(([name, entries]) => [name, [...entries]]))}}\n`;

/** What a text holds; undefined when it is damaged or of another version. */
function parsed(text: string): Known | undefined {
  try {
    const whole = JSON.parse(text);
    if (whole.version !== version) return undefined;
    const known: Known = new Map();
    for (const [adapter, entries] of whole.known as [string, [string, Entry][]][])
      for (const [matmul, entry] of entries) {
        const { programs, winner, milliseconds } = entry;
        const times = Object.values(milliseconds);
        if (typeof programs !== 'string' || !Object.hasOwn(milliseconds, winner)) return undefined;
        if (!times.every((time) => typeof time === 'number' && time >= 0)) return undefined;
        add(known, [adapter, matmul], { programs, winner, milliseconds });
      }
    return known;
  } catch {
    return undefined;
  }
}

const said = new Set<string>();

function say(warning: string): void {
  if (said.has(warning)) return;
  said.add(warning);
  console.warn(warning);
}

/** A file system's code, or the words of another error. */
const reason = (error: unknown): string => {
  const { code, message } = error as { code?: unknown; message?: string };
  return typeof code === 'string' ? code : String(message);
};

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
        throw error;
      }),
    async write(text) {
      const temporary = `${name}.${crypto.randomUUID()}.tmp`;
      try {
        await files.mkdir(builtin('node:path').dirname(name), { recursive: true });
        await files.writeFile(temporary, text);
        await files.rename(temporary, name);
      } catch (error) {
        await files.rm(temporary, { force: true }).catch(() => {});
        throw error;
      }
    },
  };
}

/** SHA-256, as hexadecimal digits. */
async function digest(text: string): Promise<string> {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
