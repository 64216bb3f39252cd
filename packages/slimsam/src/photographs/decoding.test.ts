import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { encode, picture, writePicture } from '../../test/photograph-files.ts';
import type { Augment } from './augment.ts';
import { photographsInMemory } from './in-memory.ts';
import { type OpenPhotographsOptions, openPhotographs } from './open-photographs.ts';
import type { Photographs, ReadPhotographs } from './photographs.ts';

const count = 24;
let work = '';
let folder = '';
/** Photographs that take their time. */
let big = '';
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-decoding-'));
  folder = path.join(work, 'photographs');
  await Promise.all(
    Array.from({ length: count }, (_, i) => writePicture(path.join(folder, `${String(i).padStart(2, '0')}.png`), i)),
  );
  big = path.join(work, 'big');
  await mkdir(big);
  const bytes = await encode(picture(1, { width: 2400, height: 2400 }), 'jpeg');
  for (const name of ['a.jpg', 'b.jpg', 'c.jpg']) await writeFile(path.join(big, name), bytes);
});
afterAll(() => rm(work, { recursive: true, force: true }));

async function using<T>(options: OpenPhotographsOptions, use: (photographs: Photographs) => Promise<T>): Promise<T> {
  const photographs = await openPhotographs(folder, options);
  try {
    return await use(photographs);
  } finally {
    await photographs.close();
  }
}

/** Index, name, size and pixels of all of them. */
async function readAll(photographs: Photographs, options: Partial<ReadPhotographs> = {}) {
  const found: { index: number; name: string; size: [number, number]; pixels: string }[] = [];
  const order = photographs.names.keys();
  for await (const { index, name, image } of photographs.read(order, { size: 24, ...options })) {
    const pixels = Buffer.from(image.data).toString('base64');
    found.push({ index, name, size: [image.width, image.height], pixels });
  }
  return found;
}

describe('workers', () => {
  it('give the order, and the pixels of one thread, whatever their number and variations', async () => {
    const names = (await readdir(folder)).sort();
    const reference = photographsInMemory(names.map((name, i) => ({ name, image: picture(i) })));
    const augment: Augment = { flip: 0.5, scale: [0.7, 1.5], seed: 3, epoch: 2 };
    for (const workers of [1, 3]) {
      await using({ workers, ahead: 7 }, async (photographs) => {
        for (const options of [{}, { augment }, { fit: 'square' as const, augment }]) {
          expect(await readAll(photographs, options)).toEqual(await readAll(reference, options));
        }
      });
    }
  });

  it('work ahead while the reader does something else', async () => {
    const cache = { folder: path.join(work, 'ahead'), limit: 1e6 };
    await using({ workers: 1, ahead: 4, cache }, async (photographs) => {
      const reader = photographs.read(photographs.names.keys(), { size: 24 });
      await reader.next();
      const decoded = async () => expect(await readdir(cache.folder)).toHaveLength(4);
      await vi.waitFor(decoded, { timeout: 20_000 }); // that one and three more: nobody asks for them
      await reader.next();
      await vi.waitFor(async () => expect(await readdir(cache.folder)).toHaveLength(5), { timeout: 60_000 });
      await reader.return();
    });
  });

  it('go no further ahead than told, and stop when the reader does', async () => {
    let drawn = 0;
    function* counted() {
      for (; drawn < count; drawn++) yield drawn;
    }
    await using({ workers: 2, ahead: 4 }, async (photographs) => {
      for await (const { index } of photographs.read(counted(), { size: 24 })) {
        expect(drawn - index).toBeLessThanOrEqual(4);
        if (index === 5) break;
      }
      expect(drawn).toBeLessThan(10);
      expect(await readAll(photographs)).toHaveLength(count); // another reader, the same workers
    });
  });

  it('serve several readers at once', async () => {
    await using({ workers: 1, ahead: 3 }, async (photographs) => {
      const [a, b] = await Promise.all([readAll(photographs), readAll(photographs, { size: 12 })]);
      expect(a.map(({ index }) => index)).toEqual([...Array(count).keys()]);
      expect(b.map(({ size }) => size[0])).toEqual(Array(count).fill(12));
    });
  });

  it('are freed by a signal and by closing, in the middle of a photograph too', async () => {
    for (const wait of [0, 500]) {
      const stop = new AbortController();
      const photographs = await openPhotographs(big, { workers: 2, signal: stop.signal });
      const reading = readAll(photographs, { size: 1024 });
      setTimeout(() => stop.abort(new Error('enough')), wait);
      await expect(reading).rejects.toThrow('enough');
      await expect(readAll(photographs)).rejects.toThrow('enough');
    }
    const photographs = await openPhotographs(big, { workers: 2 });
    const reading = expect(readAll(photographs, { size: 1024 })).rejects.toThrow('got closed ones');
    await sleep(100);
    await photographs.close();
    await photographs.close();
    await reading;
  });

  it('let a process end that never closes them', async () => {
    const program = `
      import { openPhotographs } from 'slimsam/node';
      const photographs = await openPhotographs(${JSON.stringify(folder)}, { workers: 2 });
      let read = 0;
      for await (const _ of photographs.read(photographs.names.keys(), { size: 8 })) read++;
      for await (const _ of photographs.read([1, 2, 3], { size: 8 })) break;
      console.log(read);`;
    const file = path.join(fileURLToPath(new URL('.', import.meta.url)), `.ends-${process.pid}.ts`);
    await writeFile(file, program);
    try {
      const flags = ['--conditions=@slimsam/source', '--import', 'tsx', file];
      const { stdout } = await promisify(execFile)(process.execPath, flags, { timeout: 60_000 });
      expect(stdout.trim()).toBe(String(count));
    } finally {
      await rm(file);
    }
  });
});

describe('a cache of resized pixels', () => {
  const open = (cache: string, limit = 1e6) => ({ workers: 1, cache: { folder: path.join(work, cache), limit } });
  const files = async (cache: string) => (await readdir(path.join(work, cache))).sort();

  it('gives the same pixels, flipped too, and is read instead of the photographs', async () => {
    const augment: Augment = { flip: 0.5, seed: 1, epoch: 1 };
    const [wanted, flipped] = await using({ workers: 1 }, async (photographs) => [
      await readAll(photographs),
      await readAll(photographs, { augment }),
    ]);
    expect(await using(open('one'), readAll)).toEqual(wanted);
    const names = await files('one');
    expect(names).toHaveLength(count);
    await using(open('one'), async (photographs) => {
      expect(await readAll(photographs)).toEqual(wanted);
      expect(await readAll(photographs, { augment })).toEqual(flipped);
    });
    expect(await files('one')).toEqual(names);
  });

  it('needs no photographs any more, but for those that are damaged in it', async () => {
    const wanted = await using(open('two'), readAll);
    const [cut, changed, ...rest] = await files('two');
    const at = (name: string) => path.join(work, 'two', name);
    await writeFile(at(cut!), (await readFile(at(cut!))).subarray(0, 40));
    const bytes = await readFile(at(changed!));
    bytes[100]! ^= 1;
    await writeFile(at(changed!), bytes);
    const times = await Promise.all(rest.map(async (name) => (await stat(at(name))).mtimeMs));
    expect(await using(open('two'), readAll)).toEqual(wanted);
    expect(await Promise.all(rest.map(async (name) => (await stat(at(name))).mtimeMs))).toEqual(times);
    expect((await stat(at(cut!))).size).toBe((await stat(at(rest[0]!))).size);
  });

  it('stays within its limit: what is not used makes room, what is used stays', async () => {
    const each = 16 + 24 * 24 * 3; // room that a size may need; 40 x 30 pixels need 16 + 24 x 18 x 3
    const limit = 10 * each;
    const bytes = async () => {
      const sizes = await Promise.all((await files('three')).map((name) => stat(path.join(work, 'three', name))));
      return sizes.reduce((sum, { size }) => sum + size, 0);
    };
    await using(open('three', limit), readAll);
    expect(await bytes()).toBeLessThanOrEqual(limit);
    expect(await bytes()).toBeGreaterThan(limit / 2);
    const before = await files('three');
    await using(open('three', limit), (photographs) => readAll(photographs, { size: 20 }));
    expect(await bytes()).toBeLessThanOrEqual(limit);
    expect((await files('three')).filter((name) => before.includes(name))).toEqual([]);
  });

  it('loses the files of processes that are gone, and leaves others alone', async () => {
    const gone = path.join(work, 'four');
    await mkdir(gone);
    const key = '0'.repeat(64);
    await writeFile(path.join(gone, `.${key}.rgb.999999999-abc.tmp`), 'x');
    await writeFile(path.join(gone, `.${key}.rgb.${process.pid}-abc.tmp`), 'x');
    await writeFile(path.join(gone, 'notes.txt'), 'x');
    await using(open('four'), async () => {});
    expect(await files('four')).toEqual([`.${key}.rgb.${process.pid}-abc.tmp`, 'notes.txt']);
  });

  it('that cannot be written any more says so once, and the photographs come all the same', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const options = open('five');
    await using(options, async (photographs) => {
      await rm(options.cache.folder, { recursive: true });
      expect(await readAll(photographs)).toHaveLength(count);
    });
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0]![0]).toMatch(/nothing more is kept in the cache: ENOENT/);
    warn.mockRestore();
    await writeFile(path.join(work, 'file'), 'x');
    await expect(openPhotographs(folder, open('file'))).rejects.toThrow(
      /expected '.*file' to be a folder or to become one, got a file there/,
    );
    await expect(openPhotographs(folder, open('six', Number.NaN))).rejects.toThrow("a cache's limit in bytes, got NaN");
  });
});
