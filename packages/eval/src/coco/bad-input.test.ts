import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BadRecord, badRecordText } from './bad-record.ts';
import { evaluateCoco } from './evaluate-coco.ts';
import { readCocoAnnotations, readDetections, readGroundTruth } from './read-coco.ts';

let work = '';
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-coco-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

const square = [[10, 10, 30, 10, 30, 30, 10, 30]];
const good = () => ({
  annotations: [
    {
      id: 7,
      image_id: 1,
      category_id: 2,
      area: 400,
      bbox: [10, 10, 20, 20],
      iscrowd: 0,
      segmentation: square as unknown,
    },
    {
      id: 8,
      image_id: 1,
      category_id: 2,
      area: 400,
      bbox: [10, 10, 20, 20],
      iscrowd: 0,
      segmentation: square as unknown,
    },
  ] as Record<string, unknown>[],
  images: [{ id: 1, width: 40, height: 50, file_name: 'a.jpg' }] as Record<string, unknown>[],
  categories: [{ id: 2, name: 'thing' }] as Record<string, unknown>[],
});
const found = () =>
  [
    {
      image_id: 1,
      category_id: 2,
      score: 0.5,
      segmentation: { size: [50, 40], counts: [510, 20, 30, 20, 1420] } as unknown,
    },
    { image_id: 1, category_id: 2, score: 0.4, segmentation: { size: [50, 40], counts: [2000] } as unknown },
  ] as Record<string, unknown>[];

async function fileOf(name: string, content: unknown): Promise<string> {
  const file = path.join(work, name);
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

/** The error of a ground truth whose second annotation, image or category is changed. */
async function truthError(change: (json: ReturnType<typeof good>) => unknown): Promise<string> {
  const json = good();
  change(json);
  const file = await fileOf('truth.json', json);
  return readGroundTruth(file).then(
    () => 'none',
    (error: Error) => error.message,
  );
}

const runs = (counts: unknown, size: unknown = [50, 40]) => ({ segmentation: { size, counts } });

test.each([
  ['a duplicate id', { id: 7 }, 'id: expected ids that differ, got 7 again'],
  ['an unknown image', { image_id: 3 }, 'image_id: expected an id of images, got 3'],
  ['an unknown category', { category_id: 3 }, 'category_id: expected an id of categories, got 3'],
  ['a negative box', { bbox: [1, 2, -3, 4] }, 'bbox[2]: Too small: expected number to be >=0'],
  ['a box of NaN (null in JSON)', { bbox: [1, 2, null, 4] }, 'bbox[2]: expected number, got null'],
  ['a negative area', { area: -1 }, 'area: Too small: expected number to be >=0'],
  ['no mask', { segmentation: undefined }, 'segmentation: expected polygons or run lengths, got none'],
  ['no polygon', { segmentation: [] }, 'segmentation: expected polygons of at least 6 coordinates, got no polygon'],
  ['runs that do not fill', runs([10, 20]), 'segmentation: expected runs that add up to 50 x 40 = 2000, got 30'],
  ['runs that overflow', runs([10, 3000]), 'segmentation: expected runs that add up to 50 x 40 = 2000, got 3010'],
  [
    'a string that ends early',
    runs('`'),
    'segmentation: expected a compressed COCO RLE string, got its end within a run',
  ],
  ['another size than the image', runs([2050], [50, 41]), 'segmentation: expected a size of [50, 40], got [50, 41]'],
  ['a mask of words', { segmentation: 'all' }, 'segmentation: expected polygons, or an object with size and counts'],
  [
    'a polygon far off',
    { segmentation: [[0, 0, 1e12, 0, 0, 5]] },
    'segmentation: expected coordinates within 1e8 pixels',
  ],
])('an annotation with %s: the error names file, id and field', async (_, change, problem) => {
  const message = await truthError((json) => Object.assign(json.annotations[1]!, change));
  const id = 'id' in change ? change.id : 8;
  expect(message).toContain(`'${path.join(work, 'truth.json')}': annotations[1], id ${id}: ${problem}`);
});

test.each([
  [
    'an absurd size',
    { width: 1e9, height: 1e9 },
    'images[0], id 1: width: expected at most 1073741824 pixels, got 1000000000 x 1000000000',
  ],
  ['a size of 0', { width: 0 }, 'images[0], id 1: width: Too small: expected number to be >0'],
  ['an id of words', { id: 'one' }, 'images[0]: id: expected number, got string'],
])('an image with %s', async (_, change, problem) => {
  expect(await truthError((json) => Object.assign(json.images[0]!, change))).toContain(`truth.json': ${problem}`);
});

test('lists that are empty, missing or repeat an id', async () => {
  expect(await truthError((json) => json.images.push({ ...json.images[0] }))).toContain(
    'images[1], id 1: id: expected ids that differ',
  );
  expect(await truthError((json) => json.categories.push({ id: 2 }))).toContain(
    'categories[1], id 2: id: expected ids that differ',
  );
  expect(await truthError((json) => Object.assign(json, { annotations: [] }))).toContain(
    "truth.json': annotations: expected at least one, got none",
  );
  expect(await truthError((json) => Object.assign(json, { images: {} }))).toContain(
    "truth.json': images: expected at least one, got none",
  );
  expect(await truthError((json) => Object.assign(json, { categories: [] }))).toContain(
    "truth.json': categories: expected at least one, got none",
  );
});

test('detections: ids, scores, sizes and boxes', async () => {
  const truth = await readGroundTruth(await fileOf('truth.json', good()));
  const message = async (change: object) => {
    const list = found();
    Object.assign(list[1]!, change);
    return readDetections(await fileOf('found.json', list), truth).then(
      () => 'none',
      (error: Error) => error.message,
    );
  };
  const at = `'${path.join(work, 'found.json')}': [1]: `;
  expect(await message({ image_id: 9 })).toContain(`${at}image_id: expected an id of images, got 9`);
  expect(await message({ category_id: 9 })).toContain(`${at}category_id: expected an id of categories, got 9`);
  expect(await message({ score: null })).toContain(`${at}score: expected number, got null`);
  expect(await message(runs([1, 2]))).toContain(
    `${at}segmentation: expected runs that add up to 50 x 40 = 2000, got 3`,
  );
  expect(await message(runs([1640], [41, 40]))).toContain(
    `${at}segmentation: expected a size of [50, 40], got [41, 40]`,
  );
  const boxed = found().map((detection) => ({ ...detection, bbox: [1, 2, 3, 4] }));
  delete (boxed[1] as { bbox?: unknown }).bbox;
  await expect(readDetections(await fileOf('found.json', boxed), truth)).rejects.toThrow(
    `${at}bbox: expected a box as the first detection has`,
  );
  await expect(readDetections(await fileOf('found.json', []), truth)).rejects.toThrow(
    "found.json': expected a list of detections, got none",
  );
});

test('files that are missing, cut off or no JSON', async () => {
  await expect(readGroundTruth(path.join(work, 'nowhere.json'))).rejects.toThrow(
    /nowhere\.json': expected a JSON file, got ENOENT/,
  );
  const whole = JSON.stringify(good());
  for (const length of [10, whole.length - 30, whole.length - 1]) {
    await expect(readGroundTruth(await fileOf('cut.json', whole.slice(0, length)))).rejects.toThrow(
      new RegExp(`cut\\.json': expected a whole JSON file, got its end at byte ${length}`),
    );
  }
  await expect(readGroundTruth(await fileOf('no.json', '{"images": [{"id": NaN}]}'))).rejects.toThrow(
    /no\.json': expected JSON, got an error near byte/,
  );
  await expect(readGroundTruth(await fileOf('list.json', '[1, 2]'))).rejects.toThrow(
    /images: expected at least one, got none/,
  );
  await expect(readGroundTruth(await fileOf('empty.json', ''))).rejects.toThrow(
    /expected a whole JSON file, got its end at byte 0/,
  );
});

test('with onBad, bad records are listed and the others evaluated', async () => {
  const json = good();
  json.annotations.push({ ...json.annotations[0], id: 9, area: -1 }, { ...json.annotations[0] });
  const bad: BadRecord[] = [];
  const onBad = (record: BadRecord) => bad.push(record);
  const truth = await readGroundTruth(await fileOf('truth.json', json), { onBad });
  const list = [...found(), { image_id: 4, category_id: 2, score: 1 }];
  const detections = await readDetections(await fileOf('found.json', list), truth, { onBad });
  expect(bad.map((record) => badRecordText(record).replaceAll(work + path.sep, ''))).toEqual([
    "'truth.json': annotations[2], id 9: area: Too small: expected number to be >=0",
    "'truth.json': annotations[3], id 7: id: expected ids that differ, got 7 again",
    "'found.json': [2]: image_id: expected an id of images, got 4",
  ]);
  expect([truth.annotations.length, detections.detections.length]).toEqual([2, 2]);
  expect(evaluateCoco({ groundTruth: truth, detections }).stats).toHaveLength(12);
});

test('annotations come one after another, and a signal stops them', async () => {
  const file = await fileOf('truth.json', good());
  const ids: number[] = [];
  for await (const { id } of readCocoAnnotations(file, { type: 'bbox' })) ids.push(id);
  expect(ids).toEqual([7, 8]);
  await expect(readCocoAnnotations(file, { signal: AbortSignal.abort(new Error('stop')) }).next()).rejects.toThrow(
    'stop',
  );
});
