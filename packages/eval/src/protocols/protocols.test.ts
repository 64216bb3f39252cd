import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateScene } from '@slimsam/scenes';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BadRecord, badRecordText } from '../coco/bad-record.ts';
import { evaluateCoco } from '../coco/evaluate-coco.ts';
import { detectionsOf, groundTruthOf } from '../coco/from-objects.ts';
import type { EvalImage } from '../data/eval-image.ts';
import { furthestPoint } from '../masks/furthest-point.ts';
import { decodeRle, encodeRle } from '../masks/rle.ts';
import { mergeResults } from './merge-results.ts';
import type { Protocol } from './protocols.ts';
import { readResults } from './results-folder.ts';
import { runProtocol } from './run-protocol.ts';
import type { Prompt, Segment, Segmented } from './segment.ts';

let work = '';
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-protocols-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

const [width, height] = [64, 48];

const images: readonly EvalImage[] = Array.from({ length: 7 }, (_, i) => {
  const { image, annotations } = generateScene(i + 1, { width, height });
  return {
    id: 10 * i,
    name: `${i}.raw`,
    width,
    height,
    bytes: async () => image.data,
    annotations: annotations.map(({ mask, bbox, area, point }, k) => ({
      id: i * 100 + k,
      bbox,
      area,
      pointCoords: [point],
      categoryId: 1 + (k % 2),
      segmentation: encodeRle(mask, { width, height }),
    })),
  };
});

const groundTruth = {
  categories: [1, 2].map((id) => ({ id, name: `class ${id}` })),
  images: images.map(({ id, name }) => ({ id, fileName: name, width, height, absent: [], incomplete: [] })),
};

/** A disc around the last positive point, or the box's ellipse: wrong in a way that can be followed. */
function answer({ points = [], labels = [], box, multimask }: Prompt): Segmented {
  const disc = (radius: number) =>
    Uint8Array.from({ length: width * height }, (_, at) => {
      const [x, y] = [at % width, Math.floor(at / width)];
      if (box) {
        const [left, top, w, h] = box;
        return ((x + 0.5 - left - w / 2) / (w / 2)) ** 2 + ((y + 0.5 - top - h / 2) / (h / 2)) ** 2 <= 1 ? 1 : 0;
      }
      let inside = 0;
      points.forEach(([px, py], i) => {
        if ((x - px) ** 2 + (y - py) ** 2 <= radius ** 2) inside = labels[i]!;
      });
      return inside;
    });
  return multimask
    ? { masks: [disc(3), disc(8), disc(14)], scores: [0.3, 0.9, 0.5] }
    : { masks: [disc(6)], scores: [0.2 + (((points[0]?.[0] ?? box![0]) * 37) % 100) / 200] };
}

const segment: Segment = async (_image, prompts) => prompts.map(answer);
const model = { name: 'discs', weights: '0' };

const protocols: readonly Protocol[] = [
  { name: 'points' },
  { name: 'boxes' },
  { name: 'best-of-three' },
  { name: 'clicks', clicks: 3 },
  { name: 'instances', rules: 'coco' },
];

test.each(protocols)('$name: killed and sharded runs give exactly the unbroken run’s files', async (protocol) => {
  const options = { protocol, images, segment, model, groundTruth };
  const at = (name: string) => path.join(work, `${protocol.name}-${name}`);
  const whole = await runProtocol({ ...options, folder: at('whole') });
  const files = async (name: string) =>
    Promise.all(
      ['summary.json', 'results.json', 'images.jsonl'].map((file) => readFile(path.join(at(name), file), 'utf8')),
    );

  // killed after two images, in the middle of writing the third
  const stop = new AbortController();
  const onImage = ({ done }: { done: number }) => done === 2 && stop.abort(new Error('killed'));
  await expect(runProtocol({ ...options, folder: at('killed'), signal: stop.signal, onImage })).rejects.toThrow(
    'killed',
  );
  await appendFile(path.join(at('killed'), 'images.jsonl'), '{"index":2,"id":20,"na');
  const resumed: boolean[] = [];
  const summary = await runProtocol({ ...options, folder: at('killed'), onImage: (p) => resumed.push(p.resumed) });
  expect(resumed).toEqual([true, true, false, false, false, false, false]);
  expect(summary).toEqual(whole);
  expect(await files('killed')).toEqual(await files('whole'));

  const shards = [at('1'), at('2'), at('3')];
  for (const [i, folder] of shards.entries())
    await runProtocol({ ...options, folder, shard: { part: i + 1, parts: 3 } });
  expect(await mergeResults([shards[2]!, shards[0]!, shards[1]!], { folder: at('merged') })).toEqual(whole);
  expect(await files('merged')).toEqual(await files('whole'));
  await expect(mergeResults(shards.slice(1), { folder: at('two') })).rejects.toThrow(
    'shards 1 to 3, each once, got 2, 3',
  );
});

test('points: the mean within each image, then over images, of the annotations’ own points', async () => {
  const folder = path.join(work, 'mean');
  const { miou, miou_over_masks, masks } = await runProtocol({
    protocol: { name: 'points' },
    images,
    segment,
    model,
    folder,
  });
  const ious = images.map(({ annotations }) =>
    annotations.map(({ segmentation, pointCoords }) => {
      const [mask, truth] = [
        answer({ points: [...pointCoords!], labels: [1], multimask: false }).masks[0]!,
        decodeRle(segmentation),
      ];
      const count = (test: (a: number, b: number) => number) =>
        truth.reduce((sum, b, at) => sum + test(mask[at]!, b), 0);
      return count((a, b) => a & b) / count((a, b) => a | b);
    }),
  );
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(miou).toBeCloseTo(mean(ious.map(mean)), 14);
  expect(miou_over_masks).toBeCloseTo(mean(ious.flat()), 14);
  expect(masks).toBe(ious.flat().length);
  const { config } = await readResults(folder);
  expect(config).toMatchObject({
    protocol: 'points',
    model,
    shard: { part: 1, parts: 1 },
    done: { images: 7, bad: [] },
  });
  expect(config.done!.data).toMatch(/^[0-9a-f]{64}$/);
});

test('clicks: the furthest point of the larger error, inside or outside', async () => {
  const prompts: (readonly Prompt[])[] = [];
  const oneImage = [{ ...images[0]!, annotations: images[0]!.annotations.slice(0, 1) }];
  const watched: Segment = async (image, asked) => {
    prompts.push(asked);
    return segment(image, asked);
  };
  const folder = path.join(work, 'clicks');
  const protocol = { name: 'clicks', clicks: 4 } as const;
  const { click_miou, miou } = await runProtocol({ protocol, images: oneImage, segment: watched, model, folder });
  expect(click_miou).toHaveLength(4);
  expect(click_miou!.at(-1)).toBe(miou);
  const truth = decodeRle(oneImage[0]!.annotations[0]!.segmentation);
  expect(prompts.map((asked) => asked[0]!.points!.length)).toEqual([1, 2, 3, 4]);
  for (const [n, [asked]] of prompts.entries()) {
    const before = n === 0 ? new Uint8Array(truth.length) : answer(prompts[n - 1]![0]!).masks[0]!;
    // brute force: every wrong pixel's distance to the nearest pixel that is not wrong in the same way
    const distances = [...truth.keys()].map((at) => {
      if (before[at] === truth[at]) return 0;
      const [x, y] = [at % width, Math.floor(at / width)];
      let least = Math.min(x + 1, y + 1, width - x, height - y) ** 2;
      truth.forEach((inside, other) => {
        if (before[other] !== inside && inside === truth[at]) return;
        least = Math.min(least, (x - (other % width)) ** 2 + (y - Math.floor(other / width)) ** 2);
      });
      return least;
    });
    const [x, y] = asked!.points!.at(-1)!;
    expect(distances[y * width + x]).toBe(Math.max(...distances));
    expect(asked!.labels!.at(-1)).toBe(truth[y * width + x]);
    expect(Boolean(asked!.previous)).toBe(n > 0);
  }
});

test('best of three: the oracle’s and the score’s choice', async () => {
  const folder = path.join(work, 'best');
  const { miou, best_miou } = await runProtocol({
    protocol: { name: 'best-of-three' },
    images,
    segment,
    model,
    folder,
  });
  expect(best_miou).toBeGreaterThan(miou!);
  const { records } = await readResults(folder);
  for (const { results } of records)
    for (const { iou, best_iou } of results) expect(best_iou).toBeGreaterThanOrEqual(iou!);
});

test('instances: results.json is what COCO’s evaluation reads, and gives the summary’s numbers', async () => {
  const folder = path.join(work, 'instances-whole');
  const { stats, boundary_ap } = JSON.parse(await readFile(path.join(folder, 'summary.json'), 'utf8'));
  const truth = groundTruthOf({
    images: images.map(({ id }) => ({ id, width, height })),
    categories: groundTruth.categories,
    annotations: images.flatMap(({ id, annotations }) =>
      annotations.map(({ id: own, categoryId, area, bbox, segmentation }) => ({
        ...{ id: own, image_id: id, category_id: categoryId, area, bbox, iscrowd: 0 },
        segmentation: { size: segmentation.size, counts: [...(segmentation.counts as Uint32Array)] },
      })),
    ),
  });
  const found = detectionsOf(JSON.parse(await readFile(path.join(folder, 'results.json'), 'utf8')), truth);
  expect(Object.values(stats)).toEqual(evaluateCoco({ groundTruth: truth, detections: found }).stats);
  expect(stats.AP).toBeGreaterThan(0.05);
  expect(boundary_ap).toBeLessThanOrEqual(stats.AP);
});

test('a detector’s boxes keep their score and class; LVIS’s numbers', async () => {
  const boxes = new Map(
    images.map(({ id, annotations }) => [
      id,
      annotations.map(({ bbox }, i) => ({ categoryId: 2 - (i % 2), box: bbox, score: i / 10 })),
    ]),
  );
  const folder = path.join(work, 'boxes');
  const lvis = {
    categories: groundTruth.categories.map((category, i) => ({
      ...category,
      frequency: i ? ('r' as const) : ('f' as const),
    })),
    images: groundTruth.images,
  };
  const protocol = { name: 'instances', rules: 'lvis', boxes } as const;
  const summary = await runProtocol({ protocol, images, segment, model, folder, groundTruth: lvis });
  expect(Object.keys(summary.stats!)).toContain('APr');
  expect(summary.miou).toBeUndefined();
  const { records, config } = await readResults(folder);
  expect(records[1]!.results.map(({ score, category_id }) => [category_id, score])).toEqual(
    boxes.get(10)!.map(({ categoryId, score }) => [categoryId, score]),
  );
  expect(config.options.boxes).toMatch(/^[0-9a-f]{64}$/);
});

test('another model, other data and wrong answers are refused', async () => {
  const base = { protocol: { name: 'points' }, images, segment, model } as const;
  const folder = path.join(work, 'mean');
  await expect(runProtocol({ ...base, folder, model: { name: 'discs', weights: '1' } })).rejects.toThrow(
    'model: expected',
  );
  const changed = images.map((image) => ({ ...image, bytes: async () => new Uint8Array(1) }));
  await expect(runProtocol({ ...base, folder, images: changed })).rejects.toThrow(
    "'0.raw': expected the data as it was",
  );
  const other = (answers: readonly Segmented[]) =>
    runProtocol({ ...base, folder: path.join(work, 'wrong'), segment: async () => answers });
  await expect(other([])).rejects.toThrow(/segment: '0\.raw': expected \d answers, got 0/);
  const wrong = { masks: [new Uint8Array(3)], scores: [1] };
  await expect(other(images[0]!.annotations.map(() => wrong))).rejects.toThrow(
    'expected masks of 48 x 64 pixels, got 3 pixels',
  );
  await expect(runProtocol({ ...base, folder: path.join(work, 'none'), images: [] })).rejects.toThrow(
    'expected images, got none',
  );
  await expect(runProtocol({ ...base, folder, shard: { part: 3, parts: 2 } })).rejects.toThrow(
    'a part of 1 to 2, got 3',
  );
});

test('objects without pixels are left out and listed; crowds get no prompt', async () => {
  const nothing = {
    id: 900,
    bbox: [0, 0, 0, 0] as const,
    area: 0,
    segmentation: encodeRle(new Uint8Array(width * height), { width, height }),
  };
  const crowd = { ...images[0]!.annotations[0]!, id: 901, crowd: true };
  const folder = path.join(work, 'left-out');
  const set = [{ ...images[0]!, annotations: [nothing, crowd, ...images[0]!.annotations] }];
  const { left_out, masks } = await runProtocol({ protocol: { name: 'points' }, images: set, segment, model, folder });
  expect([left_out, masks]).toEqual([1, images[0]!.annotations.length]);
});

test('the furthest point of an empty mask is none; of a full one its middle', () => {
  expect(furthestPoint(new Uint8Array(12), [3, 4])).toBeUndefined();
  expect(furthestPoint(new Uint8Array(25).fill(1), [5, 5])).toEqual({ point: [2, 2], squaredDistance: 9 });
});

test('images that cannot be decoded or are of another size: an error, or skipped and listed, in shards too', async () => {
  const png = async (w: number, h: number) =>
    new Uint8Array(
      await sharp({ create: { width: w, height: h, channels: 3, background: 'red' } })
        .png()
        .toBuffer(),
    );
  const [good, wide] = [await png(width, height), await png(width + 1, height)];
  const contents = [good, wide, good, good.subarray(0, 60), good, good, good];
  const files = images.map((image, i) => ({ ...image, name: `${i}.png`, bytes: async () => contents[i]! }));
  const looking: Segment = async (image, prompts) => {
    await image.pixels();
    return segment(image, prompts);
  };
  const base = { protocol: { name: 'points' }, images: files, segment: looking, model } as const;
  await expect(runProtocol({ ...base, folder: path.join(work, 'refused') })).rejects.toThrow(
    "'1.png': id 10: width, height: expected 64 x 48 as the annotations state, got 65 x 48; --skip-bad",
  );
  const run = async (name: string, shard = { part: 1, parts: 1 }) => {
    const bad: BadRecord[] = [];
    const folder = path.join(work, `skipped-${name}`);
    return runProtocol({ ...base, folder, shard, bad, onBad: (record) => bad.push(record) });
  };
  const whole = await run('whole');
  expect([whole.images, whole.bad]).toEqual([5, 2]);
  const { config } = await readResults(path.join(work, 'skipped-whole'));
  expect(config.done!.skipped).toBe(2);
  expect(config.done!.bad.map(badRecordText)).toEqual([
    "'1.png': id 10: width, height: expected 64 x 48 as the annotations state, got 65 x 48",
    expect.stringMatching(/^'3\.png': id 30: expected an image, got /),
  ]);
  expect(await run('whole')).toEqual(whole);
  await run('1', { part: 1, parts: 2 });
  await run('2', { part: 2, parts: 2 });
  const shards = ['2', '1'].map((name) => path.join(work, `skipped-${name}`));
  expect(await mergeResults(shards, { folder: path.join(work, 'skipped-merged') })).toEqual(whole);
});
