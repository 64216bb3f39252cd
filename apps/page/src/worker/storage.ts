import type { PhotographFile } from 'slimsam/browser';

/** What a run was started with. */
export interface Settings {
  readonly model: string;
  readonly ratio: number;
  readonly epochs: number;
  readonly batch: number;
  readonly learningRate: number;
  readonly seed: number;
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
}

const folderName = 'compression';

/** The settings of the compression that is kept, if there is one. */
export async function storedSettings(): Promise<Settings | undefined> {
  try {
    const home = await navigator.storage.getDirectory();
    const folder = await home.getDirectoryHandle(folderName);
    const file = await (await folder.getFileHandle('settings.json')).getFile();
    return JSON.parse(await file.text()) as Settings;
  } catch (error) {
    if (error instanceof Error && (error.name === 'NotFoundError' || error instanceof SyntaxError)) return undefined;
    throw error;
  }
}

/** Removes the compression that is kept. */
export async function discardStored(): Promise<void> {
  const home = await navigator.storage.getDirectory();
  await home.removeEntry(folderName, { recursive: true }).catch((error: Error) => {
    if (error.name !== 'NotFoundError') throw error;
  });
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
  };
}

async function write(file: FileSystemFileHandle, content: Blob): Promise<void> {
  const stream = await file.createWritable();
  await stream.write(content);
  await stream.close();
}
