import { checkFields } from './check-fields.ts';
import { decode } from './formats/safetensors.ts';
import { longestHeader, parseHeader } from './formats/safetensors-header.ts';
import type { ByteSource, FileSource, OpenOptions } from './sources/byte-source.ts';
import type { HubSource } from './sources/hub-source.ts';
import { openBytes } from './sources/open-bytes.ts';
import type { TensorFile } from './tensor-file.ts';
import { locate, openFolder, readJson } from './tensor-folder.ts';

/** What can be opened: a file, a folder, or a model of the Hugging Face Hub, whose bare id 'owner/name' is taken where no such path exists. */
export type Source = FileSource | HubSource;

export interface OpenTensorsOptions extends OpenOptions {
  /** Starts of class names that a whole PyTorch module may have besides torch.nn's. Their code never runs. */
  allowed?: readonly string[];
}

/**
 * Opens a safetensors file, a PyTorch one (a zip as `torch.save` writes it), both recognised by their first bytes, or a folder (an
 * address that ends with '/'): model.safetensors, on a disk also another name if it is the only file of weights, or the parts of
 * model.safetensors.index.json. Values are read tensor by tensor; of a pickle only tensors and plain fields are taken and nothing in it is ever called.
 *
 * @throws when the file cannot be read, is truncated or of another format, or a pickle names anything outside of the list
 */
export async function openTensors(source: Source, options: OpenTensorsOptions = {}): Promise<TensorFile> {
  checkFields('openTensors', { options }, { options: 'object' });
  const known = [URL, Uint8Array, Blob].some((kind) => source instanceof kind) || typeof source === 'string';
  if (
    source === '' ||
    !(known || (typeof source === 'object' && source !== null && 'hub' in source && typeof source.hub === 'string'))
  )
    throw new Error(
      `openTensors: expected a path, an address, bytes as a Uint8Array, a Blob or { hub: 'owner/name' }, got ${source === '' ? "''" : String(source)}`,
    );
  const open = (file: FileSource) => openFile(file, options);
  const place = await locate(source, options);
  if (place.folder) return openFolder(place.folder, open, options);
  const { file, beside } = place;
  const opened = await open(file);
  return beside ? { ...opened, json: (name) => readJson(beside, name, options) } : opened;
}

async function openFile(source: FileSource, options: OpenTensorsOptions): Promise<TensorFile> {
  const bytes = await openBytes(source, options);
  try {
    const [a, b] = await bytes.read(0, Math.min(4, bytes.size));
    if (a === 0x50 && b === 0x4b) {
      const { openPytorch } = await import('./formats/pytorch.ts'); // pages without a .pth do not fetch its reader
      return await openPytorch(bytes, options.allowed ?? []);
    }
    if (a === 0x80 && b === 2 && bytes.size > 2 ** 10) {
      throw new Error(
        `openTensors: expected safetensors or a zip in ${bytes.name}, got a bare pickle; save it with PyTorch >= 1.6`,
      );
    }
    return await openSafetensors(bytes);
  } catch (error) {
    await bytes.close();
    throw error;
  }
}

async function openSafetensors(source: ByteSource): Promise<TensorFile> {
  const start = await source.read(0, Math.min(8, source.size));
  const length = start.length < 8 ? 0 : Number(new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true));
  const head = await source.read(0, Math.min(8 + length, 8 + longestHeader, source.size));
  const { entries, metadata, dataStart } = parseHeader(head, source.name, source.size);
  entries.sort((a, b) => a.start - b.start);
  const places = new Map(entries.map((entry) => [entry.name, entry]));
  return {
    name: source.name,
    tensors: Object.fromEntries(entries.map(({ name, dtype, shape }) => [name, { dtype, shape }])),
    metadata,
    attributes: {},
    opaque: [],
    async read(name) {
      const place = places.get(name);
      if (!place) throw new Error(`openTensors: expected tensor '${name}' in ${source.name}, got none`);
      const bytes = await source.read(dataStart + place.start, dataStart + place.end);
      return decode({ ...place, start: 0, end: bytes.length }, bytes, source.name);
    },
    json: async () => undefined,
    close: () => source.close(),
  };
}
