import type { RunStore } from '../compress/run-store.ts';
import { type Metric, parseMetrics } from './metrics.ts';
import { type RunFiles, runStoreOf } from './run-store-of.ts';

/** What is used of a FileSystemFileHandle. */
interface BrowserFile {
  readonly name: string;
  getFile(): Promise<Blob>;
  createWritable(): Promise<{
    write(data: Uint8Array<ArrayBuffer> | string): Promise<void>;
    close(): Promise<void>;
    abort(): Promise<void>;
  }>;
}

/** What is used of a FileSystemDirectoryHandle. */
export interface BrowserFolder {
  readonly name: string;
  keys(): AsyncIterable<string>;
  getFileHandle(name: string, options?: { create?: boolean }): Promise<BrowserFile>;
  removeEntry(name: string): Promise<void>;
}

/** A file as workers have it; TypeScript's types of a page leave this out. */
type FileInWorker = BrowserFile & {
  createSyncAccessHandle(): Promise<{
    getSize(): number;
    write(bytes: Uint8Array<ArrayBuffer>, options: { at: number }): number;
    close(): void;
  }>;
};

/** A run in a browser's folder. */
export interface BrowserRun extends RunStore {
  /** The events that are kept so far: what a page shows after a reload. */
  metrics(): Promise<Metric[]>;
  /** Lets another tab have the folder. */
  close(): void;
}

/**
 * Keeps a run in a folder of the browser, such as one of `navigator.storage.getDirectory()`, which no photograph or weight leaves. The tab
 * may be closed at any moment: files are whole or not at all, and the same run goes on. In a worker: metrics are appended without copying
 * their file, which only workers can. The files are those of a run folder on a disk.
 *
 * @throws when another tab has the folder
 */
export async function openRun(folder: BrowserFolder): Promise<BrowserRun> {
  const release = await lock(`slimsam-run-${folder.name}`);
  const files = filesIn(folder);
  const metrics = async () => parseMetrics((await files.text('metrics.jsonl')) ?? '', 'metrics.jsonl');
  return { ...runStoreOf(files), metrics, close: release };
}

function filesIn(folder: BrowserFolder): RunFiles {
  const file = (name: string) => folder.getFileHandle(name, { create: true });
  /** An empty file was made by a write that did not come to its end. */
  const found = async (name: string): Promise<Blob | undefined> => {
    const handle = await folder.getFileHandle(name).catch((error: Error) => {
      if (error.name === 'NotFoundError') return undefined;
      throw error;
    });
    const content = await handle?.getFile();
    return content && content.size > 0 ? content : undefined;
  };
  return {
    names: async () => {
      const names: string[] = [];
      for await (const name of folder.keys()) if (await found(name)) names.push(name);
      return names;
    },
    title: (name) => `${folder.name}/${name}`,
    source: async (name) => (await folder.getFileHandle(name)).getFile(),
    target: file,
    text: async (name) => (await found(name))?.text(),
    append: async (name, text) => {
      const access = await ((await file(name)) as FileInWorker).createSyncAccessHandle();
      try {
        access.write(new TextEncoder().encode(text), { at: access.getSize() });
      } finally {
        access.close();
      }
    },
    remove: (name) =>
      folder.removeEntry(name).catch((error: Error) => {
        if (error.name !== 'NotFoundError') throw error;
      }),
  };
}

/** @returns what frees the lock. @throws when another tab, or another run of this one, has it */
function lock(name: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, { ifAvailable: true }, (granted) => {
        if (granted) return new Promise<void>((release) => resolve(release));
        reject(
          new Error(`run folder: expected '${name}' for this tab alone, got one that another tab works in; close it`),
        );
        return undefined;
      })
      .catch(reject);
  });
}
