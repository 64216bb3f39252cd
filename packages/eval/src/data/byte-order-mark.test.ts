/** A byte order mark, which editors on Windows write in front of JSON, is passed over. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateScenes } from '@slimsam/scenes';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readDetections, readGroundTruth } from '../coco/read-coco.ts';
import { readSa1b } from './read-sa1b.ts';
import { readSa1bTar } from './read-sa1b-tar.ts';

let work = '';
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-mark-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

const marked = (bytes: Buffer) => Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), bytes]);

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

test('in SA-1B JSON, in a folder and in a tar', async () => {
  await generateScenes({ folder: work, count: 1, seed: 3, size: 48 });
  const before = await all(readSa1b(work));
  const file = path.join(work, 'sa_1.json');
  await writeFile(file, marked(await readFile(file)));
  expect((await all(readSa1b(work)))[0]!.annotations).toEqual(before[0]!.annotations);
  const packed = pack();
  for (const name of ['sa_1.jpg', 'sa_1.json']) packed.entry({ name }, await readFile(path.join(work, name)));
  packed.finalize();
  await writeFile(path.join(work, 'shard.tar'), Buffer.concat((await all(packed)) as Buffer[]));
  const [image] = await all(readSa1bTar(path.join(work, 'shard.tar')));
  expect(image!.annotations).toEqual(before[0]!.annotations);
});

test('in COCO annotations and detections', async () => {
  const read = async (edit: (bytes: Buffer) => Buffer) => {
    const copies = await Promise.all(
      ['ground_truth', 'detections'].map(async (name) => {
        const source = fileURLToPath(new URL(`../../test/fixtures/coco-small/${name}.json`, import.meta.url));
        const copy = path.join(work, `${name}.json`);
        await writeFile(copy, edit(await readFile(source)));
        return copy;
      }),
    );
    const truth = await readGroundTruth(copies[0]!);
    return { annotations: truth.annotations, ...(await readDetections(copies[1]!, truth)) };
  };
  expect(await read(marked)).toEqual(await read((bytes) => bytes));
});
