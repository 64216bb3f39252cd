import { isHtml } from './formats/html.ts';
import { printable } from './formats/printable.ts';
import { addressOf, type FileSource, type OpenOptions } from './sources/byte-source.ts';
import type { Folder } from './sources/folder.ts';
import { openHub } from './sources/hub.ts';
import { type HubSource, isHubId } from './sources/hub-source.ts';
import { MissingFile } from './sources/missing-file.ts';
import { readIfThere } from './sources/open-bytes.ts';
import type { TensorFile } from './tensor-file.ts';

type Place = { folder: Folder; file?: undefined } | { folder?: undefined; file: FileSource; beside?: Folder };

/** Tells folders (an address that ends with '/', a path, a model of the Hub) from files; a file of the Hub is downloaded. */
export async function locate(source: FileSource | HubSource, options: OpenOptions): Promise<Place> {
  if (source instanceof Uint8Array || source instanceof Blob) return { file: source };
  if (typeof source !== 'string' && !(source instanceof URL)) {
    const folder = await openHub(source, options);
    return source.file === undefined ? { folder } : { file: await folder.find(source.file) };
  }
  const address = addressOf(source);
  if (address) {
    if (!address.pathname.endsWith('/')) return { file: address };
    return { folder: plainFolder((file) => new URL(file, address).href) };
  }
  const { dirname, fileURLToPath, join, readdir, stat } = await import('#node');
  const path = source instanceof URL ? fileURLToPath(source) : source;
  const found = await stat(path).catch(() => undefined);
  if (!found && isHubId(path)) return { folder: await openHub({ hub: path }, options) };
  if (found?.isDirectory()) {
    return { folder: { ...plainFolder((file) => join(path, file)), list: () => readdir(path) } };
  }
  return { file: path, beside: plainFolder((file) => join(dirname(path), file)) };
}

function plainFolder(name: (file: string) => string): Folder {
  return { name, find: async (file) => name(file) };
}

/** A JSON file of a folder, undefined when there is none. @throws when it is not JSON */
export async function readJson(folder: Folder, file: string, { signal }: OpenOptions): Promise<unknown> {
  const place = await findIfThere(folder, file);
  const bytes = place === undefined ? undefined : await readIfThere(place, signal && { signal });
  if (!bytes || (addressOf(place!) && isHtml(bytes))) return undefined; // a server's page for what it does not have
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    if (isHtml(bytes))
      throw new Error(`openTensors: expected JSON in ${folder.name(file)}, got an HTML page`, { cause: error });
    throw new Error(
      `openTensors: expected JSON in ${folder.name(file)}, got '${printable((error as Error).message)}'`,
      {
        cause: error,
      },
    );
  }
}

async function findIfThere(folder: Folder, file: string): Promise<string | undefined> {
  try {
    return await folder.find(file);
  } catch (error) {
    if (error instanceof MissingFile) return undefined;
    throw error;
  }
}

const indexFile = 'model.safetensors.index.json';

const weightsFile = /\.(safetensors|pth|pt|bin|ckpt)$/i;

/** model.safetensors, or the only file of weights that a listed folder has. @throws when there are several others */
async function soleFile(folder: Folder): Promise<string> {
  const usual = 'model.safetensors';
  const found = ((await folder.list?.()) ?? []).filter((name) => weightsFile.test(name) && !name.startsWith('.'));
  if (found.length === 0 || found.includes(usual)) return usual;
  if (found.length === 1) return found[0]!;
  throw new Error(
    `openTensors: expected one file of weights in ${folder.name('')}, got ${found.sort().join(', ')}; give the path of one of them`,
  );
}

/**
 * Opens model.safetensors of a folder (another name where it is the only file of weights), or the parts that
 * model.safetensors.index.json lists, as one file.
 *
 * @param open opens one of the files
 */
export async function openFolder(
  folder: Folder,
  open: (file: string) => Promise<TensorFile>,
  options: OpenOptions,
): Promise<TensorFile> {
  const index = await readJson(folder, indexFile, options);
  const file =
    index === undefined ? await open(await folder.find(await soleFile(folder))) : await openParts(index, folder, open);
  return { ...file, json: (beside) => readJson(folder, beside, options) };
}

async function openParts(
  index: unknown,
  folder: Folder,
  open: (file: string) => Promise<TensorFile>,
): Promise<TensorFile> {
  const name = folder.name(indexFile);
  const places = weightMap(index, name);
  const files = new Map<string, TensorFile>();
  const close = async () => {
    for (const file of files.values()) await file.close();
  };
  try {
    for (const part of new Set(places.values())) files.set(part, await open(await folder.find(part)));
    const tensors = [...files].flatMap(([part, file]) =>
      Object.entries(file.tensors).filter(([tensor]) => places.get(tensor) === part),
    );
    const found = new Set(tensors.map(([tensor]) => tensor));
    const lost = [...places.keys()].find((tensor) => !found.has(tensor));
    if (lost) {
      const part = folder.name(places.get(lost)!);
      throw new Error(`openTensors: expected '${lost}' in ${part}, got none; ${name} lists it`);
    }
    return {
      name,
      tensors: Object.fromEntries(tensors),
      metadata: {},
      attributes: {},
      opaque: [...files.values()].flatMap((file) => file.opaque),
      read: (tensor) => files.get(places.get(tensor) ?? '')!.read(tensor),
      json: async () => undefined,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Tensor -> file, of an index. File names with folders are refused. */
function weightMap(index: unknown, source: string): Map<string, string> {
  const map = typeof index === 'object' && index !== null && 'weight_map' in index ? index.weight_map : undefined;
  const entries = Object.entries(map ?? {});
  const wrong = entries.find(([, file]) => typeof file !== 'string' || !/^[\w-][\w.-]*$/.test(file));
  if (wrong || entries.length === 0) {
    const got = JSON.stringify(wrong ?? map);
    throw new Error(`openTensors: expected weight_map with names of files in ${source}, got ${got}`);
  }
  return new Map(entries as [string, string][]);
}
