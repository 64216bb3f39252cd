import type { PhotographFile } from 'slimsam/browser';

/** What a run was started with. */
export interface Settings {
  readonly model: string;
  readonly ratio: number;
  readonly epochs: number;
  readonly batch: number;
  readonly learningRate: number;
  /** Photographs that channels are scored with, at most. */
  readonly sample: number;
  readonly seed: number;
}

/** A compression that is kept. */
export interface Kept {
  readonly settings: Settings;
  /** Its slim model is there, and nothing else is left of it. */
  readonly done: boolean;
}

/** A compression in the origin's own folder: its settings, the original, the photographs at the model's size, and the run. */
export interface Storage {
  readonly run: FileSystemDirectoryHandle;
  file(name: string): Promise<FileSystemFileHandle>;
  /** Adds a photograph. */
  addPhotograph(name: string, png: Blob): Promise<void>;
  photographs(): Promise<PhotographFile[]>;
  /** Written last: a start that was broken off before is no run. */
  saveSettings(settings: Settings): Promise<void>;
  /** Keeps the slim model alone: the photographs, the original and the run are removed. */
  finish(save: (file: FileSystemFileHandle) => Promise<void>): Promise<void>;
}

const folderName = 'compression';
/** Of the model after the last step; there once it is whole. */
export const slimName = 'slim.safetensors';

/** The compression that is kept, if there is one. */
export async function keptCompression(): Promise<Kept | undefined> {
  try {
    const home = await navigator.storage.getDirectory();
    const folder = await home.getDirectoryHandle(folderName);
    const file = await (await folder.getFileHandle('settings.json')).getFile();
    const settings = JSON.parse(await file.text()) as Settings;
    const slim = await folder.getFileHandle(slimName).catch(ifMissing);
    return { settings, done: ((await slim?.getFile())?.size ?? 0) > 0 };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    return ifMissing(error);
  }
}

/** @throws what is no missing file */
function ifMissing(error: unknown): undefined {
  if (!(error instanceof DOMException && error.name === 'NotFoundError')) throw error;
}

/**
 * Runs what changes the compression that is kept, while no other tab does. A tab that was reloaded may hold it a moment longer.
 *
 * @throws when another tab has it
 */
export async function alone<T>(work: () => Promise<T>): Promise<T> {
  let granted = false;
  try {
    return await navigator.locks.request('compression', { signal: AbortSignal.timeout(3000) }, () => {
      granted = true;
      return work();
    });
  } catch (error) {
    if (granted) throw error;
    throw new Error('compress: expected no other tab that compresses, got one; close it, or go on there', {
      cause: error,
    });
  }
}

/** Removes the compression that is kept. */
export async function discardStored(): Promise<void> {
  const home = await navigator.storage.getDirectory();
  await home.removeEntry(folderName, { recursive: true }).catch(ifMissing);
}

export async function openStorage(): Promise<Storage> {
  const home = await navigator.storage.getDirectory();
  const folder = await home.getDirectoryHandle(folderName, { create: true });
  const photographs = await folder.getDirectoryHandle('photographs', { create: true });
  const file = (name: string) => folder.getFileHandle(name, { create: true });
  let count = 0;
  return {
    run: await folder.getDirectoryHandle('run', { create: true }),
    file,
    async addPhotograph(name, png) {
      const number = String(count++).padStart(6, '0'); // their order
      await write(
        await photographs.getFileHandle(`${number} ${name.replaceAll(/[\\/:]/g, '_')}`, { create: true }),
        png,
      );
    },
    async photographs() {
      const found: PhotographFile[] = [];
      for await (const [name, handle] of photographs.entries())
        if (handle.kind === 'file') found.push({ name, blob: await (handle as FileSystemFileHandle).getFile() });
      return found.sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    saveSettings: async (settings) => write(await file('settings.json'), new Blob([JSON.stringify(settings)])),
    async finish(save) {
      await save(await file(slimName));
      for (const name of ['photographs', 'run', 'original.safetensors'])
        await folder.removeEntry(name, { recursive: true }).catch(ifMissing);
    },
  };
}

async function write(file: FileSystemFileHandle, content: Blob): Promise<void> {
  const stream = await file.createWritable();
  await stream.write(content);
  await stream.close();
}
