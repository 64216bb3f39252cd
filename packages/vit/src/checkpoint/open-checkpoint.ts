import { isHttp, type OpenOptions, openTensors, readIfThere, type Source, type TensorFile } from '@slimsam/weights';

/** Starts of the class names that SAM's and SlimSAM's whole modules have. */
const allowed = ['segment_anything.modeling.', 'segment_anything_kd.modeling.'];

/** A checkpoint's tensors, and Hugging Face's JSON files where it is a folder. */
export interface Checkpoint {
  file: TensorFile;
  config?: unknown;
  processor?: unknown;
}

/**
 * Opens a file, or a folder of Hugging Face's (an address that ends with '/'): config.json with model.safetensors, or with the parts
 * that model.safetensors.index.json lists.
 */
export async function openCheckpoint(source: Source, options: OpenOptions): Promise<Checkpoint> {
  const inFolder = await folderOf(source);
  if (!inFolder) return { file: await openTensors(source, { ...options, allowed }) };
  const { signal } = options;
  const json = async (name: string) =>
    parseJson(await readIfThere(inFolder(name), signal ? { signal } : {}), inFolder(name));
  const config = await json('config.json');
  if (config === undefined)
    throw new Error(`loadSam: expected config.json in the folder ${source}, got none; give the file itself`);
  const processor = await json('preprocessor_config.json');
  const index = await json('model.safetensors.index.json');
  const file = index
    ? await openShards(index, inFolder, options)
    : await openTensors(inFolder('model.safetensors'), options);
  return { file, config, processor };
}

/** How files of a folder are addressed; undefined when the source is not a folder. */
async function folderOf(source: Source): Promise<((name: string) => string) | undefined> {
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
  if (!found && typeof source === 'string' && /^[\w.-]+\/[\w.-]+$/.test(source)) {
    throw new Error(
      `loadSam: expected a file, a folder or an address, got '${source}', which is not there; of a Hub id give https://huggingface.co/${source}/resolve/main/`,
    );
  }
  return found?.isDirectory() ? (name) => join(path, name) : undefined;
}

function parseJson(bytes: Uint8Array | undefined, source: string): unknown {
  if (!bytes) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new Error(`loadSam: expected JSON in ${source}, got '${(error as Error).message}'`, { cause: error });
  }
}

/** The parts of a sharded model as one file. */
async function openShards(
  index: unknown,
  inFolder: (name: string) => string,
  options: OpenOptions,
): Promise<TensorFile> {
  const name = inFolder('model.safetensors.index.json');
  const places = weightMap(index, name);
  const files = new Map<string, TensorFile>();
  const close = async () => {
    for (const file of files.values()) await file.close();
  };
  try {
    for (const part of new Set(places.values())) files.set(part, await openTensors(inFolder(part), options));
    const tensors: Record<string, TensorFile['tensors'][string]> = {};
    for (const [part, file] of files) {
      for (const [tensor, info] of Object.entries(file.tensors))
        if (places.get(tensor) === part) tensors[tensor] = info;
    }
    for (const [tensor, part] of places) {
      if (!tensors[tensor])
        throw new Error(`loadSam: expected '${tensor}' in ${inFolder(part)}, got none; ${name} lists it`);
    }
    return {
      name,
      tensors,
      metadata: {},
      attributes: {},
      read: (tensor) => files.get(places.get(tensor) ?? '')!.read(tensor),
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
    throw new Error(
      `loadSam: expected weight_map with names of files in ${source}, got ${JSON.stringify(wrong ?? map)}`,
    );
  }
  return new Map(entries as [string, string][]);
}
