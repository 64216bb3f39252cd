import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { generateScenes } from '@slimsam/scenes';
import sharp from 'sharp';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BadRecord, badRecordText } from '../coco/bad-record.ts';
import { groundTruthOf } from '../coco/from-objects.ts';
import { compressRle, decodeRle } from '../masks/rle.ts';
import { readPixels } from './pixels.ts';
import { readCocoImages } from './read-coco-images.ts';
import { readMaskFolder } from './read-mask-folder.ts';
import { readSa1b } from './read-sa1b.ts';
import { readSa1bTar } from './read-sa1b-tar.ts';

let work = '';
let scenes = '';
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-readers-'));
  scenes = path.join(work, 'scenes');
  await generateScenes({ folder: scenes, count: 3, seed: 4, size: 48 });
});
afterAll(() => rm(work, { recursive: true, force: true }));

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function tarOf(names: readonly string[]): Promise<Buffer> {
  const packed = pack();
  for (const name of names) packed.entry({ name: `sa_000000/${name}` }, await readFile(path.join(scenes, name)));
  packed.finalize();
  const parts: Buffer[] = [];
  for await (const part of packed) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

const pairs = [1, 2, 3].flatMap((number) => [`sa_${number}.jpg`, `sa_${number}.json`]);

test('a tar shard gives what its folder gives, packed or not', async () => {
  const tar = await tarOf([...pairs.slice(1), pairs[0]!]);
  await writeFile(path.join(work, 'shard.tar'), tar);
  await writeFile(path.join(work, 'shard.tar.gz'), gzipSync(tar));
  const folder = await all(readSa1b(scenes));
  for (const name of ['shard.tar', 'shard.tar.gz']) {
    const shard = (await all(readSa1bTar(path.join(work, name)))).sort((a, b) => a.id - b.id);
    expect(shard.map(({ annotations }) => annotations)).toEqual(folder.map(({ annotations }) => annotations));
    for (const [i, image] of shard.entries()) expect(await readPixels(image)).toEqual(await readPixels(folder[i]!));
  }
});

test('tars that are cut short, lack a half or are none', async () => {
  const tar = await tarOf(pairs);
  const file = path.join(work, 'bad.tar');
  await writeFile(file, tar.subarray(0, 3000));
  await expect(all(readSa1bTar(file))).rejects.toThrow(/readSa1bTar: '.*bad\.tar': /);
  await writeFile(file, await tarOf(pairs.slice(1)));
  await expect(all(readSa1bTar(file))).rejects.toThrow(
    /bad\.tar': sa_1\.json: expected an image and a JSON file of one name/,
  );
  const bad: BadRecord[] = [];
  expect(await all(readSa1bTar(file, { onBad: (record) => bad.push(record) }))).toHaveLength(2);
  expect(bad.map(({ record }) => record)).toEqual(['sa_1.json']);
  await expect(all(readSa1bTar(path.join(work, 'nowhere.tar')))).rejects.toThrow(/nowhere\.tar': ENOENT/);
  await writeFile(file, 'no tar at all'.repeat(200));
  await expect(all(readSa1bTar(file))).rejects.toThrow(/readSa1bTar: '.*bad\.tar'|expected pairs/);
});

test('SA-1B form: fields of the model’s may be missing; bad masks and images are skipped and listed', async () => {
  const folder = path.join(work, 'own');
  await generateScenes({ folder, count: 3, seed: 4, size: 48 });
  const edit = async (
    number: number,
    change: (json: { annotations: Record<string, unknown>[]; image: object }) => void,
  ) => {
    const file = path.join(folder, `sa_${number}.json`);
    const json = JSON.parse(await readFile(file, 'utf8'));
    change(json);
    await writeFile(file, JSON.stringify(json));
  };
  await edit(1, ({ annotations }) => {
    for (const annotation of annotations)
      for (const key of ['predicted_iou', 'stability_score', 'crop_box']) delete annotation[key];
  });
  expect((await all(readSa1b(folder)))[0]!.annotations[0]).toMatchObject({
    predictedIou: undefined,
    cropBox: undefined,
  });
  await edit(1, ({ annotations }) => Object.assign(annotations[0]!, { bbox: [0, 0, -1, 3] }));
  await edit(2, ({ annotations }) => {
    annotations[1]!.id = annotations[0]!.id;
    annotations[2]!.point_coords = [[99, 2]];
  });
  await rm(path.join(folder, 'sa_3.jpg'));
  await expect(all(readSa1b(folder))).rejects.toThrow(
    /sa_1\.json': expected SA-1B annotations[\s\S]*annotations\[0\]\.bbox/,
  );
  const bad: BadRecord[] = [];
  const kept = await all(readSa1b(folder, { onBad: (record) => bad.push(record) }));
  expect(kept.map(({ name }) => name)).toEqual(['sa_2.jpg']);
  expect(bad.map((record) => badRecordText(record).split(': ').slice(2).join(': ').split(',')[0])).toEqual([
    expect.stringContaining('expected SA-1B annotations'),
    'annotations[1]',
    'annotations[2]',
    expect.stringContaining('image.file_name: expected an image'),
  ]);
});

test('COCO images in order of their ids, and a file that is missing or of another size', async () => {
  const [first, second] = await all(readSa1b(scenes));
  const json = {
    images: [second!, first!].map(({ id, name, width, height }) => ({ id, width, height, file_name: name })),
    categories: [{ id: 1, name: 'object' }],
    annotations: [first!, second!].flatMap(({ id: image_id, annotations }) =>
      annotations.map(({ id, area, bbox, segmentation }) => ({
        id,
        image_id,
        category_id: 1,
        area,
        bbox,
        segmentation: compressRle(segmentation),
      })),
    ),
  };
  const truth = groundTruthOf(json);
  const images = await all(readCocoImages(scenes, truth));
  expect(images.map(({ id, annotations }) => [id, annotations.length])).toEqual(
    [first!, second!].map(({ id, annotations }) => [id, annotations.length]),
  );
  json.images.push({ id: 99, width: 48, height: 48, file_name: 'gone.jpg' });
  await expect(all(readCocoImages(scenes, groundTruthOf(json)))).rejects.toThrow(
    /images, id 99: file_name: expected an image '.*gone\.jpg', got ENOENT/,
  );
  await expect(readPixels({ ...images[0]!, width: 50 })).rejects.toThrow(
    "'sa_1.jpg': width, height: expected 50 x 48 as the annotations state, got 48 x 48",
  );
  await expect(readPixels({ ...images[0]!, bytes: async () => new Uint8Array(9) })).rejects.toThrow(
    "'sa_1.jpg': expected an image",
  );
});

test('a folder of images and one of PNG masks: a grey level an object', async () => {
  const folders = { images: path.join(work, 'images'), masks: path.join(work, 'masks') };
  await Promise.all(Object.values(folders).map((folder) => mkdir(folder)));
  const [width, height] = [9, 7];
  const levels = Uint8Array.from({ length: width * height }, (_, at) =>
    at % width < 3 ? 2 : at % width > 6 ? 255 : 0,
  );
  await sharp(new Uint8Array(width * height * 3), { raw: { width, height, channels: 3 } })
    .jpeg()
    .toFile(path.join(folders.images, 'a.jpg'));
  await sharp(levels, { raw: { width, height, channels: 1 } })
    .png()
    .toFile(path.join(folders.masks, 'a.png'));
  const [image] = await all(readMaskFolder(folders));
  expect(image).toMatchObject({ name: 'a.jpg', width, height });
  expect(image!.annotations.map(({ id, area, bbox }) => [id, area, bbox])).toEqual([
    [2, 21, [0, 0, 3, 7]],
    [255, 14, [7, 0, 2, 7]],
  ]);
  expect(decodeRle(image!.annotations[0]!.segmentation)).toEqual(levels.map((level) => Number(level === 2)));
  await sharp(levels, { raw: { width: height, height: width, channels: 1 } })
    .png()
    .toFile(path.join(folders.masks, 'a.png'));
  await expect(all(readMaskFolder(folders))).rejects.toThrow(
    /'a\.jpg': .*a\.png: expected 9 x 7 pixels as the image has, got 7 x 9/,
  );
  await rm(path.join(folders.masks, 'a.png'));
  await expect(all(readMaskFolder(folders))).rejects.toThrow(/'a\.jpg': .*a\.png: .*missing/i);
});
