import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fitLongestSide, resizeBilinear } from '@slimsam/vit/images';
import { create } from 'tar';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encode, picture, writePicture } from '../../test/photograph-files.ts';
import { type OpenPhotographsOptions, openPhotographs } from './open-photographs.ts';
import type { Photograph, Photographs } from './photographs.ts';
import { subsetOf } from './subset.ts';

let work = '';
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-photographs-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

/** A new folder with pictures of these names, numbered from 0. */
async function folderOf(...names: string[]): Promise<string> {
  const folder = await mkdtemp(path.join(work, 'folder-'));
  await Promise.all(names.map((name, number) => writePicture(path.join(folder, name), number)));
  return folder;
}

/** Opens, hands over and closes. */
async function using<T>(
  source: Parameters<typeof openPhotographs>[0],
  use: (photographs: Photographs) => T | Promise<T>,
  options: OpenPhotographsOptions = {},
): Promise<T> {
  const photographs = await openPhotographs(source, { workers: 1, ...options });
  try {
    return await use(photographs);
  } finally {
    await photographs.close();
  }
}

async function readAll(photographs: Photographs): Promise<Photograph[]> {
  const found: Photograph[] = [];
  for await (const photograph of photographs.read(photographs.names.keys(), { size: 20 })) found.push(photograph);
  return found;
}

const names = ({ names }: Photographs) => names;
const resized = (number: number) => resizeBilinear(picture(number), fitLongestSide(picture(number), 20));

describe('a source', () => {
  it('a folder, with those in it: in the order of names, hidden and other files left out', async () => {
    const folder = await folderOf('b.png', 'a/z.png', 'a/y.PNG', '.hidden.png', '.git/x.png');
    await writeFile(path.join(folder, 'b.json'), '{}');
    const found = await using(folder, readAll);
    expect(found.map(({ name }) => name)).toEqual(['a/y.PNG', 'a/z.png', 'b.png']);
    expect(found.map(({ image }) => image)).toEqual([2, 1, 0].map(resized));
  });

  it('gives files as they are, of a subset too', async () => {
    const folder = await folderOf('a.png', 'b.png');
    const found = await using(folder, async (all) => [await all.file!(1), await subsetOf(all, [1]).file!(0)]);
    const bytes = await readFile(path.join(folder, 'b.png'));
    for (const file of found) expect(bytes.equals(file)).toBe(true);
  });

  it('a list file: paths relative to it, comments, both ends of lines, byte order marks, links', async () => {
    const folder = await folderOf('a.png', 'sub/b.png');
    await symlink(path.join(folder, 'a.png'), path.join(folder, 'link'));
    const lines = ['sub/b.png', '', '# a comment', path.join(folder, 'a.png'), 'link', 'none.png'].join('\r\n');
    const files = { 'utf8.txt': Buffer.from(`\ufeff${lines}`), 'utf16.lst': Buffer.from(`\ufeff${lines}`, 'utf16le') };
    for (const [name, bytes] of Object.entries(files)) {
      const list = path.join(folder, name);
      await writeFile(list, bytes);
      await using(list, async (photographs) => {
        expect(photographs.names).toEqual(['sub/b.png', path.join(folder, 'a.png'), 'link']);
        expect((await readAll(photographs)).map(({ image }) => image)).toEqual([1, 0, 0].map(resized));
        expect(photographs.skipped).toEqual([{ name: 'none.png', reason: expect.stringContaining('ENOENT') }]);
      });
    }
  });

  it('a tar shard as SA-1B has them, alone or in a folder: with long names, cut short', async () => {
    const long = `${'d'.repeat(90)}/${'é'.repeat(60)}.png`;
    const folder = await folderOf('sa_2.png', 'sa_1.png', long, 'sa_9.png');
    await writeFile(path.join(folder, 'sa_1.json'), '{}');
    const shards = await mkdtemp(path.join(work, 'shards-'));
    const file = path.join(shards, 'sa_000000.tar');
    await create({ cwd: folder, file }, ['./sa_1.json', './sa_2.png', './sa_1.png', long, './sa_9.png']);
    const found = await using(file, readAll);
    expect(found.map(({ name }) => name)).toEqual(['sa_2.png', 'sa_1.png', long, 'sa_9.png']);
    expect(found.map(({ image }) => image)).toEqual([0, 1, 2, 3].map(resized));
    await writePicture(path.join(shards, 'more.png'), 7);
    expect(await using(shards, names)).toEqual(['more.png', ...found.map(({ name }) => `sa_000000.tar/${name}`)]);

    const last = await readFile(path.join(folder, 'sa_9.png'));
    await truncate(file, (await readFile(file)).indexOf(last) + 100);
    await using(file, (photographs) => {
      expect(photographs.names).toHaveLength(3);
      expect(photographs.skipped).toEqual([{ name: 'sa_9.png', reason: expect.stringContaining('cut short') }]);
    });
  });

  it('GNU tar’s long names', async () => {
    const name = `${'long'.repeat(40)}.png`;
    const folder = await folderOf(name);
    const file = path.join(folder, 'gnu.tar');
    execFileSync('tar', ['--format=gnu', '-cf', file, name], { cwd: folder });
    expect(await using(file, names)).toEqual([name]);
  });

  it('a COCO file: its images beside it, in a folder of the set’s name, or where told', async () => {
    const folder = await folderOf('val2017/1.png', 'val2017/2.png', 'elsewhere/1.png');
    const images = ['1.png', '2.png', '../elsewhere/1.png', '/etc/hostname'].map((file_name, id) => ({
      id,
      file_name,
    }));
    const file = path.join(folder, 'annotations/instances_val2017.json');
    await mkdir(path.dirname(file));
    await writeFile(file, `\ufeff${JSON.stringify({ info: {}, images, annotations: [{ id: 1 }] })}`);
    await using(file, async (photographs) => {
      expect((await readAll(photographs)).map(({ image }) => image)).toEqual([0, 1].map(resized));
      expect(photographs.skipped.map(({ reason }) => /^outside the folder/.test(reason))).toEqual([true, true]);
    });
    await using(file, ({ names, skipped }) => expect([names.length, skipped.length]).toEqual([2, 2]), {
      images: path.join(folder, 'elsewhere'),
    });
    await rm(path.join(folder, 'val2017'), { recursive: true });
    await expect(openPhotographs(file)).rejects.toThrow(
      /expected '1\.png' of .* in one of .*val2017.*, got none; name the folder/,
    );
  });

  it('any iterable: paths, bytes and pixels', async () => {
    const folder = await folderOf('a.png');
    async function* items() {
      yield path.join(folder, 'a.png');
      yield { name: 'bytes', bytes: new Uint8Array(await encode(picture(1))) };
      yield { name: 'pixels', image: picture(2) };
      yield { name: 'file', path: path.join(folder, 'a.png') };
    }
    const found = await using(items(), readAll);
    expect(found.map(({ name }) => name)).toEqual([path.join(folder, 'a.png'), 'bytes', 'pixels', 'file']);
    expect(found.map(({ image }) => image)).toEqual([0, 1, 2, 0].map(resized));
  });

  it('some of it by chance, equally for a seed', async () => {
    const folder = await folderOf(...Array.from({ length: 12 }, (_, i) => `${i}.png`));
    const draw = (seed: number) => using(folder, names, { subset: 5, seed });
    expect(await draw(1)).toHaveLength(5);
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(2)).not.toEqual(await draw(1));
    await expect(openPhotographs(folder, { subset: 13 })).rejects.toThrow('1 to 12 of 12, got 13');
  });

  it('has an identity of names, bytes and times', async () => {
    const folder = await folderOf('a.png', 'b.png');
    const identity = () => using(folder, (photographs) => photographs.identity);
    const before = await identity();
    expect(await identity()).toBe(before);
    await utimes(path.join(folder, 'a.png'), 1, 1);
    expect(await identity()).not.toBe(before);
  });
});

describe('what is no photograph', () => {
  it('is skipped by its kind or content, named, and never waited for', async () => {
    const folder = await folderOf('good.png');
    execFileSync('mkfifo', [path.join(folder, 'fifo.jpg')]);
    await mkdir(path.join(folder, 'folder.jpg'));
    await symlink('/dev/zero', path.join(folder, 'link.jpg'));
    await symlink(folder, path.join(folder, 'around'));
    await symlink('nowhere', path.join(folder, 'dangling.png'));
    await writeFile(path.join(folder, 'drawing.jpg'), '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
    await writeFile(path.join(folder, 'empty.jpg'), '');
    const whole = await encode(picture(1, { width: 200, height: 200 }), 'jpeg');
    await writeFile(path.join(folder, 'cut.jpg'), whole.subarray(0, whole.length / 2));
    await using(folder, async (photographs) => {
      expect((await readAll(photographs)).map(({ name }) => name)).toEqual(['good.png']);
      const reasons = new Map(photographs.skipped.map(({ name, reason }) => [name, reason]));
      expect([...reasons.keys()].sort()).toEqual(
        ['around', 'cut.jpg', 'dangling.png', 'drawing.jpg', 'empty.jpg', 'fifo.jpg', 'folder.jpg', 'link.jpg'].sort(),
      );
      expect(reasons.get('fifo.jpg')).toBe('a FIFO, not a regular file');
      expect(reasons.get('folder.jpg')).toBe('a folder, not a regular file');
      expect(reasons.get('link.jpg')).toContain('a symbolic link, not a regular file');
      expect(reasons.get('drawing.jpg')).toContain('by its content, which begins with "<svg xmlns=\\""');
      expect(reasons.get('empty.jpg')).toContain('begins with nothing');
      const count = photographs.skipped.length;
      await readAll(photographs); // known by now
      expect(photographs.skipped).toHaveLength(count);
    });
  });

  it('is an error when strict: at once where the kind tells, when it is read where the content does', async () => {
    const folder = await folderOf('good.png');
    await writeFile(path.join(folder, 'bad\u001b[31m.jpg'), 'text');
    await using(
      folder,
      (photographs) =>
        expect(readAll(photographs)).rejects.toThrow(/expected every file to be .*'bad\\u001b\[31m\.jpg': no JPEG/),
      { strict: true },
    );
    execFileSync('mkfifo', [path.join(folder, 'fifo.jpg')]);
    await expect(openPhotographs(folder, { strict: true })).rejects.toThrow("got 'fifo.jpg': a FIFO");
  });

  it('a photograph that grew, or is gone, since it was listed', async () => {
    const folder = await folderOf('a.png', 'b.png', 'c.png');
    await using(folder, async (photographs) => {
      await writeFile(path.join(folder, 'a.png'), 'x', { flag: 'a' });
      await rm(path.join(folder, 'b.png'));
      expect((await readAll(photographs)).map(({ name }) => name)).toEqual(['c.png']);
      expect(photographs.skipped.map(({ reason }) => reason)).toEqual([
        expect.stringMatching(/a file of \d+ bytes, not of \d+ as before/),
        expect.stringContaining('ENOENT'),
      ]);
    });
  });

  it('alone is an error: none can be decoded', async () => {
    const folder = await folderOf();
    await writeFile(path.join(folder, 'a.jpg'), 'text');
    await using(folder, async (photographs) => {
      const message = /expected some that can be decoded, got 1 that cannot, 'a\.jpg' the last: no JPEG/;
      await expect(readAll(photographs)).rejects.toThrow(message);
      await expect(readAll(photographs)).rejects.toThrow(message);
    });
  });

  it('sources that have none, or are none', async () => {
    const folder = await folderOf();
    await writeFile(path.join(folder, 'a.txt'), 'x');
    const bytes = path.join(folder, 'bytes.bin');
    await writeFile(bytes, new Uint8Array(9));
    const fifo = path.join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const file = async (name: string, content: string | Uint8Array) => {
      const where = path.join(work, name);
      await writeFile(where, content);
      return where;
    };
    const cases: [Parameters<typeof openPhotographs>[0], RegExp][] = [
      [folder, /AVIF files in '.*', got 2 files of other kinds, 1 skipped|got 3 files of other kinds$/],
      [path.join(folder, 'nowhere'), /expected a folder, list, tar or COCO file, got ENOENT/],
      [fifo, /expected a folder or a regular file, got a FIFO/],
      [bytes, /got bytes that are no text in/],
      [[], /from the iterable, got 0 files/],
      [[{ name: 'x' } as never], /expected items as paths or \{ name, path \| bytes \| image \}, got object/],
      [await file('a.tar', 'text'.repeat(999)), /expected a tar in '.*a\.tar', got other bytes at 0/],
      [await file('b.tar', Buffer.from('1f8b'.padEnd(2000, '0'), 'hex')), /a gzip file; unpack it by gunzip/],
      [await file('none.json', '{'), /expected COCO JSON in '.*none\.json'/],
      [
        await file('other.json', '{"images": [{"id": 1}]}'),
        /expected COCO's images with their file_name .* at images\[0\]\.file_name/,
      ],
    ];
    for (const [source, message] of cases) await expect(openPhotographs(source)).rejects.toThrow(message);
    await expect(openPhotographs(folder, { workers: 0 })).rejects.toThrow('expected workers as 1, 2, …, got 0');
    await expect(openPhotographs(folder, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  });
});
