import { isHttp, type OpenOptions, readIfThere, type Source } from './byte-source.ts';
import type { TensorFile } from './tensor-file.ts';

/** Address or path of a file of a folder. */
export type InFolder = (name: string) => string;

/** How files of a folder are addressed; undefined when the source is not a folder (an address that ends with '/', or a path). */
export async function folderOf(source: Source): Promise<InFolder | undefined> {
  if (source instanceof Uint8Array) return undefined;
  if (isHttp(source)) {
    const url = new URL(source);
    return url.pathname.endsWith('/') ? (name) => new URL(name, url).href : undefined;
  }
  const { stat } = await import('node:fs/promises');
  const { join } = await import('node:path');
  const { fileURLToPath } = await import('node:url');
  const path = source instanceof URL ? fileURLToPath(source) : source;
  const found = await stat(path).catch(() => undefined);
  if (!found && /^[\w.-]+\/[\w.-]+$/.test(path)) {
    throw new Error(
      `openTensors: expected a file, a folder or an address, got '${path}', which is not there; of a Hub id give https://huggingface.co/${path}/resolve/main/`,
    );
  }
  return found?.isDirectory() ? (name) => join(path, name) : undefined;
}

/** A JSON file of a folder, undefined when there is none. @throws when it is not JSON */
async function readJson(source: string, signal?: AbortSignal): Promise<unknown> {
  const bytes = await readIfThere(source, signal && { signal });
  if (!bytes) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new Error(`openTensors: expected JSON in ${source}, got '${(error as Error).message}'`, { cause: error });
  }
}

/**
 * Opens model.safetensors of a Hugging Face folder, or the parts that model.safetensors.index.json lists, as one file.
 *
 * @param open opens one of the files
 */
export async function openFolder(
  inFolder: InFolder,
  open: (file: string) => Promise<TensorFile>,
  { signal }: OpenOptions,
): Promise<TensorFile> {
  const name = inFolder('model.safetensors.index.json');
  const index = await readJson(name, signal);
  const file = index === undefined ? await open(inFolder('model.safetensors')) : await openParts(index, inFolder, open);
  return { ...file, json: (beside) => readJson(inFolder(beside), signal) };
}

async function openParts(
  index: unknown,
  inFolder: InFolder,
  open: (file: string) => Promise<TensorFile>,
): Promise<TensorFile> {
  const name = inFolder('model.safetensors.index.json');
  const places = weightMap(index, name);
  const files = new Map<string, TensorFile>();
  const close = async () => {
    for (const file of files.values()) await file.close();
  };
  try {
    for (const part of new Set(places.values())) files.set(part, await open(inFolder(part)));
    const tensors = [...files].flatMap(([part, file]) =>
      Object.entries(file.tensors).filter(([tensor]) => places.get(tensor) === part),
    );
    const found = new Set(tensors.map(([tensor]) => tensor));
    const lost = [...places.keys()].find((tensor) => !found.has(tensor));
    if (lost) {
      const part = inFolder(places.get(lost)!);
      throw new Error(`openTensors: expected '${lost}' in ${part}, got none; ${name} lists it`);
    }
    return {
      name,
      tensors: Object.fromEntries(tensors),
      metadata: {},
      attributes: {},
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
