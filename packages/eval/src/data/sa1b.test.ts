import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateScenes } from '@slimsam/scenes';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeRle } from '../masks/rle.ts';
import { readSa1b } from './read-sa1b.ts';
import type { Sa1bImage } from './sa1b-image.ts';

let work = '';
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-sa1b-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

async function all(folder: string): Promise<Sa1bImage[]> {
  const images: Sa1bImage[] = [];
  for await (const image of readSa1b(folder)) images.push(image);
  return images;
}

/** A folder with one pair, whose JSON is changed by `edit`. */
async function folderWith(edit: (file: Record<string, unknown>) => unknown): Promise<string> {
  const folder = await mkdtemp(path.join(work, 'edit-'));
  await generateScenes({ folder, count: 1, seed: 1, size: 48 });
  const file = path.join(folder, 'sa_1.json');
  await writeFile(file, JSON.stringify(edit(JSON.parse(await readFile(file, 'utf8')))));
  return folder;
}

test('scenes are written as SA-1B pairs, reproducibly, and read back', async () => {
  const [one, two] = [path.join(work, 'one'), path.join(work, 'two')];
  const done: number[] = [];
  const options = { count: 11, seed: 5, size: 64 };
  const { images, annotations } = await generateScenes({ ...options, folder: one, onScene: (p) => done.push(p.done) });
  await generateScenes({ ...options, folder: two });
  expect(images).toBe(11);
  expect(done).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  for (const name of await readdir(one)) {
    expect(await readFile(path.join(one, name))).toEqual(await readFile(path.join(two, name)));
  }
  const read = await all(one);
  expect(read.map(({ imagePath }) => path.basename(imagePath)).slice(0, 3)).toEqual([
    'sa_1.jpg',
    'sa_2.jpg',
    'sa_3.jpg',
  ]);
  expect(read.reduce((sum, image) => sum + image.annotations.length, 0)).toBe(annotations);
  for (const image of read) {
    const { width, height } = await sharp(image.imagePath).metadata();
    expect([image.width, image.height]).toEqual([width, height]);
    for (const { segmentation, area, pointCoords } of image.annotations) {
      const mask = decodeRle(segmentation);
      const [x, y] = pointCoords[0]!;
      expect(mask.reduce((sum, inside) => sum + inside, 0)).toBe(area);
      expect(mask[y * image.width + x]).toBe(1);
    }
  }
});

test('sets of neighbouring seeds share no scene', async () => {
  const seen = new Set<string>();
  for (const seed of [1, 2, 3]) {
    const folder = path.join(work, `seed-${seed}`);
    await generateScenes({ folder, count: 4, seed, size: 32 });
    for (const name of await readdir(folder)) {
      if (name.endsWith('.jpg')) seen.add((await readFile(path.join(folder, name))).toString('base64'));
    }
  }
  expect(seen.size).toBe(12);
});

test('a missing or an empty folder is an error', async () => {
  await expect(all(path.join(work, 'nowhere'))).rejects.toThrow(/expected a folder '.*nowhere', got ENOENT/);
  await mkdir(path.join(work, 'empty'));
  await expect(all(path.join(work, 'empty'))).rejects.toThrow(
    /expected \.json files with images in '.*empty', got none/,
  );
});

test('JSON that is not SA-1B: the error names file and field', async () => {
  const coco = await folderWith(() => ({ images: [], annotations: [] }));
  await expect(all(coco)).rejects.toThrow(/sa_1\.json': expected SA-1B annotations, got[\s\S]*at image/);
  const text = await folderWith((file) => {
    (file.annotations as { area: unknown }[])[1]!.area = 'large';
    return file;
  });
  await expect(all(text)).rejects.toThrow(/expected number, received string[\s\S]*at annotations\[1\]\.area/);
  const broken = await folderWith((file) => file);
  await writeFile(path.join(broken, 'sa_1.json'), '{"image": ');
  await expect(all(broken)).rejects.toThrow(/sa_1\.json': expected JSON, got/);
});

test('masks of another size or with broken runs: the error names file and field', async () => {
  const segmentation = (change: object) => (file: Record<string, unknown>) => {
    Object.assign((file.annotations as { segmentation: object }[])[2]!.segmentation, change);
    return file;
  };
  await expect(all(await folderWith(segmentation({ size: [48, 49] })))).rejects.toThrow(
    /sa_1\.json': annotations\[2\], id 1002: segmentation\.size: expected \[48, 48\], got \[48, 49\]/,
  );
  await expect(all(await folderWith(segmentation({ counts: '11' })))).rejects.toThrow(
    /annotations\[2\], id 1002: segmentation\.counts: .*add up to 48 x 48 = 2304, got 2/,
  );
  await expect(all(await folderWith(segmentation({ counts: null })))).rejects.toThrow(
    /expected a string or an array of run lengths[\s\S]*at annotations\[2\]\.segmentation\.counts/,
  );
});

test('an image that is missing, or not in the folder', async () => {
  const image = (name: string) => (file: Record<string, unknown>) => {
    (file.image as { file_name: string }).file_name = name;
    return file;
  };
  await expect(all(await folderWith(image('other.jpg')))).rejects.toThrow(
    /sa_1\.json': image\.file_name: expected an image '.*other\.jpg', got ENOENT/,
  );
  await expect(all(await folderWith(image('../x.jpg')))).rejects.toThrow(/same folder[\s\S]*at image\.file_name/);
});

test('file names that leave the folder or steer a terminal, and files that are none', async () => {
  const named = (name: string) =>
    folderWith((file) => {
      (file.image as { file_name: string }).file_name = name;
      return file;
    });
  for (const name of ['.', '..', '../sa_1.jpg', '/etc/passwd', 'a\\b.jpg', 'a\0.jpg'])
    await expect(all(await named(name))).rejects.toThrow(/the name of a file in the same folder/);
  const steering = await all(await named('\u001b[2J.jpg')).then(
    () => expect.unreachable(),
    (error: Error) => error.message,
  );
  expect(steering).toContain('\\x1b[2J.jpg');
  const folder = await folderWith((file) => file);
  await rm(path.join(folder, 'sa_1.jpg'));
  execFileSync('mkfifo', [path.join(folder, 'sa_1.jpg')]);
  await expect(all(folder)).rejects.toThrow(/sa_1\.jpg', got a FIFO, not a regular file/);
  execFileSync('mkfifo', [path.join(folder, 'sa_0.json')]);
  await expect(all(folder)).rejects.toThrow(/sa_0\.json': expected a JSON file, got a FIFO, not a regular file/);
  await rm(path.join(folder, 'sa_0.json'));
  await mkdir(path.join(folder, 'sa_0.json'));
  await expect(all(folder)).rejects.toThrow(/sa_0\.json': expected a JSON file, got a folder, not a file/);
});

test.each([
  [{ point_coords: [[48, 3]] }, 'point_coords: expected points in 48 x 48 pixels, got [48, 3]'],
  [{ bbox: [10, 10, 48, 2] }, 'bbox: expected a box in 48 x 48 pixels, got [10, 10, 48, 2]'],
  [{ crop_box: [-9, 0, 48, 48] }, 'crop_box: expected a box in 48 x 48 pixels, got [-9, 0, 48, 48]'],
  [{ area: 2305 }, 'area: expected at most the image’s 2304 pixels, got 2305'],
])('an annotation that contradicts its image: %j', async (change, message) => {
  const folder = await folderWith((file) => {
    Object.assign((file.annotations as object[])[0]!, change);
    return file;
  });
  await expect(all(folder)).rejects.toThrow(message);
});

test('a signal stops writing and reading', async () => {
  const folder = path.join(work, 'stopped');
  const stop = new AbortController();
  const onScene = ({ done }: { done: number }) => done === 2 && stop.abort(new Error('enough'));
  await expect(generateScenes({ folder, count: 9, seed: 1, size: 32, signal: stop.signal, onScene })).rejects.toThrow(
    'enough',
  );
  expect((await readdir(folder)).sort()).toEqual(['sa_1.jpg', 'sa_1.json', 'sa_2.jpg', 'sa_2.json']);
  await expect(readSa1b(folder, { signal: stop.signal }).next()).rejects.toThrow('enough');
});

test('a wrong count is refused', async () => {
  await expect(generateScenes({ folder: work, count: 0, seed: 1 })).rejects.toThrow(
    'expected a count of at least 1, got 0',
  );
});
