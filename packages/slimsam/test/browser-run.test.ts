import { maskPng } from '@slimsam/vit';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type BrowserFolder, compress, openRun, photographsInFiles, slimSam } from '../src/browser.ts';
import { follow, tinySam, valuesOf, withWebgpu } from './tiny.ts';

withWebgpu();
const held = new Set<string>();
beforeAll(() => {
  // a browser's locks: Node has none before 24
  const request = async (name: string, _: unknown, use: (lock: object | null) => unknown) => {
    if (held.has(name)) return use(null);
    held.add(name);
    await use({ name });
    held.delete(name);
  };
  vi.stubGlobal('navigator', { locks: { request } });
});
afterAll(() => void vi.unstubAllGlobals());

/** The browser's files: a new one is empty until its first write is closed. */
function memoryFolder(name: string): BrowserFolder & { readonly files: Map<string, Blob> } {
  const files = new Map<string, Blob>();
  const missing = (file: string) => Object.assign(new Error(`no ${file}`), { name: 'NotFoundError' });
  return {
    ...{ name, files },
    async *keys() {
      yield* [...files.keys()];
    },
    async getFileHandle(file, { create = false } = {}) {
      if (!files.has(file) && !create) throw missing(file);
      if (!files.has(file)) files.set(file, new Blob([]));
      const handle = {
        name: file,
        getFile: async () => files.get(file)!,
        async createWritable() {
          const parts: (Uint8Array<ArrayBuffer> | string)[] = [];
          return {
            write: async (data: Uint8Array<ArrayBuffer> | string) => void parts.push(data),
            close: async () => void files.set(file, new Blob(parts)),
            abort: async () => {},
          };
        },
        async createSyncAccessHandle() {
          const before = files.get(file)!;
          return {
            getSize: () => before.size,
            write: (bytes: Uint8Array<ArrayBuffer>) => {
              files.set(file, new Blob([before, bytes]));
              return bytes.length;
            },
            close() {},
          };
        },
      };
      return handle;
    },
    async removeEntry(file) {
      if (!files.delete(file)) throw missing(file);
    },
  };
}

/** Grey squares as encoded files, and one that is damaged. */
async function photographs() {
  const size = { width: 64, height: 64 };
  const pngs = await Promise.all(
    [1, 2, 3, 4, 5, 6].map((seed) =>
      maskPng(
        Uint8Array.from({ length: 64 * 64 }, (_, i) => ((i * seed * 7) % 64 < 20 ? 1 : 0)),
        size,
      ),
    ),
  );
  const files = pngs.map((bytes, i) => ({ name: `${i}.png`, blob: new Blob([new Uint8Array(bytes)]) }));
  return photographsInFiles([...files, { name: 'damaged.png', blob: files[0]!.blob.slice(0, 50) }]);
}

const recipe = slimSam({ ratio: 0.5, epochs: 1, learningRate: 1e-3, sample: 2 });

/** Runs in a folder until so many events were told; undefined unless it came to its end before. */
async function runIn(folder: BrowserFolder, events: number) {
  const run = await openRun(folder);
  try {
    const stages = compress(tinySam(3), {
      photographs: await photographs(),
      recipe,
      batch: 2,
      run,
      saveMinutes: () => 0,
    });
    return await follow(stages, events);
  } finally {
    run.close();
    await new Promise((resolve) => setTimeout(resolve)); // the lock is let go after this turn
  }
}

test('in a browser’s folder a run that is broken off goes on, bit for bit; a damaged photograph is named', async () => {
  const whole = (await runIn(memoryFolder('whole'), Number.POSITIVE_INFINITY))!;
  expect(whole.skipped).toEqual([{ name: 'damaged.png', reason: expect.stringContaining('decodeImage') }]);
  const folder = memoryFolder('broken');
  let result: typeof whole | undefined;
  for (let tries = 0; !result; tries++) {
    result = await runIn(folder, [6, 4][tries % 2]!);
    folder.files.set(`training-${tries + 9}.safetensors`, new Blob([])); // what a tab leaves that is closed while it writes
    expect(tries).toBeLessThan(20);
  }
  const [expected, got] = await Promise.all([whole, result].map(({ model }) => valuesOf(model.weights)));
  expect(got).toEqual(expected);
  expect((await (await openRun(folder)).metrics()).map(({ type }) => type)).toContain('checkpoint');
});

test('two tabs do not share a folder', async () => {
  const folder = memoryFolder('shared');
  const run = await openRun(folder);
  await expect(openRun(folder)).rejects.toThrow('for this tab alone');
  run.close();
});
