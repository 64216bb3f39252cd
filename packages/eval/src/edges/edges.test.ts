import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BadRecord, badRecordText } from '../coco/bad-record.ts';
import { readEdgeImages } from '../data/read-edge-images.ts';
import { mergeResults } from '../protocols/merge-results.ts';
import { readResults } from '../protocols/results-folder.ts';
import { runProtocol } from '../protocols/run-protocol.ts';
import type { Segment } from '../protocols/segment.ts';
import { writeEvaluationReport } from '../report/evaluation-report.ts';
import { edgeMap, maskEdge, suppressEdges } from './edge-map.ts';
import { countEdges, edgeScores, edgeThresholds } from './edge-scores.ts';
import { matchEdges } from './match-edges.ts';
import { thinEdges } from './thin-edges.ts';

let work = '';
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-edges-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

const bits = (text: string) => Uint8Array.from(text, Number);

test('thinning and matching of noise: scikit-image’s and scipy’s counts at every threshold', async () => {
  const file = new URL('../../test/fixtures/edges.json', import.meta.url);
  const reference = JSON.parse(await readFile(file, 'utf8'));
  const edges = Float32Array.from(reference.edges, (value: number) => (value + 0.01) / 100);
  const half = Uint8Array.from(edges, (value) => (value >= 0.5 ? 1 : 0));
  thinEdges(half, reference.size[1]);
  expect(half).toEqual(bits(reference.thinned_50));
  const counts = countEdges(edges, reference.truths.map(bits), reference);
  expect(counts.found).toEqual(reference.found);
  expect(counts.truth_matched).toEqual(reference.truth_matched);
  counts.found_matched.forEach((matched, i) => {
    expect(matched).toBeLessThanOrEqual(counts.found[i]!);
    expect(2 * matched).toBeGreaterThanOrEqual(counts.truth_matched[i]!); // of two people's
  });
});

/** The size of the largest matching, one augmenting path after another (Kuhn). */
function largestMatching(
  found: Uint8Array,
  truth: Uint8Array,
  { width, tolerance }: { width: number; tolerance: number },
) {
  const places = (mask: Uint8Array) =>
    [...mask.keys()].filter((at) => mask[at]).map((at) => [at % width, Math.floor(at / width)] as const);
  const [from, to] = [places(found), places(truth)];
  const owner = to.map(() => -1);
  const tryFrom = (i: number, seen: Set<number>): boolean =>
    to.some(([x, y], k) => {
      if (seen.has(k) || Math.hypot(x - from[i]![0], y - from[i]![1]) > tolerance) return false;
      seen.add(k);
      if (owner[k]! >= 0 && !tryFrom(owner[k]!, seen)) return false;
      owner[k] = i;
      return true;
    });
  return from.filter((_, i) => tryFrom(i, new Set())).length;
}

test.each([1, 2, 3, 4, 5, 6])('as many pixels are matched as can be (%i)', (seed) => {
  let state = seed * 7919;
  const random = () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  const [height, width] = [14 + seed, 23 - seed];
  const mask = (share: number) => Uint8Array.from({ length: height * width }, () => (random() < share ? 1 : 0));
  const [found, truth] = [mask(0.1 * seed), mask(0.35)];
  const tolerance = 0.9 + seed / 4;
  const matched = matchEdges(found, truth, { size: [height, width], tolerance });
  expect(matched.count).toBe(largestMatching(found, truth, { width, tolerance }));
  expect(matched.found.reduce((sum, inside) => sum + inside, 0)).toBe(matched.count);
  matched.found.forEach((inside, at) => {
    expect(inside && !found[at]).toBeFalsy();
  });
});

test('the nearest pixels are partners; none beyond the tolerance', () => {
  const found = bits('1000000010');
  const truth = bits('0010100100');
  const at = (tolerance: number) => matchEdges(found, truth, { size: [1, 10], tolerance });
  expect(at(1)).toEqual({ found: bits('0000000010'), count: 1 });
  expect(at(1.99).count).toBe(1);
  expect(at(2)).toEqual({ found: bits('1000000010'), count: 2 });
});

test('a mask’s edge is on its outer border, as strong as Sobel’s filter says', () => {
  const [height, width] = [5, 6];
  const logits = Float32Array.from({ length: 30 }, (_, at) => (at % width < 3 ? 100 : -100));
  const { places, strengths } = maskEdge(logits, [height, width]);
  expect([...places]).toEqual([3, 9, 15, 21, 27]);
  expect([...strengths]).toEqual([4, 4, 4, 4, 4]);
  const map = edgeMap(
    [
      { places, strengths },
      { places: Int32Array.of(3, 4), strengths: Float32Array.of(8, 1) },
    ],
    [5, 6],
  );
  expect([map[3], map[4], map[9], map[0]]).toEqual([1, 0.125, 0.5, 0]);
});

test('suppression leaves the ridge of a broad edge, whatever its direction', () => {
  const size = [40, 44] as const;
  for (const [a, b] of [
    [1, 0],
    [0, 1],
    [0.6, 0.8],
    [0.6, -0.8],
  ] as const) {
    const distance = (at: number) => a * ((at % 44) - 21.3) + b * (Math.floor(at / 44) - 19.6);
    const edges = Float32Array.from({ length: 40 * 44 }, (_, at) => Math.exp(-((distance(at) / 1.5) ** 2)));
    const kept = suppressEdges(edges, size);
    const away = [...kept.keys()].filter((at) => kept[at]! > 0.05).map((at) => Math.abs(distance(at)));
    expect(away.length).toBeGreaterThan(25);
    expect(Math.max(...away)).toBeLessThan(1.2);
  }
});

test('scores: by hand, of two thresholds that matter', () => {
  const at = (low: number, high: number) => edgeThresholds.map((threshold) => (threshold < 0.5 ? low : high));
  const image = { found: at(200, 100), found_matched: at(100, 80), truth_matched: at(180, 120), truth: at(200, 200) };
  const scores = edgeScores([image]);
  const f = (p: number, r: number) => (2 * p * r) / (p + r);
  // between the two thresholds the line from (0.5, 0.9) to (0.8, 0.6) has a better F than either end
  const line = Array.from({ length: 100 }, (_, i) => f(0.5 + (0.3 * i) / 99, 0.9 - (0.3 * i) / 99));
  expect(scores.ods).toBeCloseTo(Math.max(...line), 12);
  expect(scores.ois).toBeCloseTo(f(0.8, 0.6), 12);
  // precision 0.8 at recall 0.6 to 0.5 at 0.9; none below
  const ap = Array.from({ length: 31 }, (_, i) => 0.8 - i / 100).reduce((sum, value) => sum + value, 0) / 100;
  expect(scores.ap).toBeCloseTo(ap, 12);
  expect(scores.r50).toBeCloseTo(0.9, 12);
});

const [width, height] = [96, 80];
const inDisc = (at: number, [x, y, radius]: readonly [number, number, number]) =>
  radius - Math.hypot((at % width) - x, Math.floor(at / width) - y);
const discs: readonly (readonly [number, number, number])[] = [
  [30, 30, 18.4],
  [66, 50, 20.2],
  [50, 40, 25.7],
];

const logitsOf = (value: (at: number) => number) => Float32Array.from({ length: width * height }, (_, at) => value(at));
const withMask = (logits: Float32Array) => ({ logits, mask: Uint8Array.from(logits, (value) => (value > 0 ? 1 : 0)) });
const spot = withMask(
  logitsOf((at) => (Math.hypot((at % width) - 60, Math.floor(at / width) - 12) < 4 ? 0.02 : -0.02)),
);
const nothing = withMask(logitsOf(() => -9));
const inside = discs.map((disc) => withMask(logitsOf((at) => 8 * inDisc(at, disc))));

/** Logits of the disc under the point, or of nothing, and a small wrong mask with a low score. */
const segment: Segment = async (image, prompts) =>
  prompts.map(({ points }) => {
    const [x, y] = points![0]!.map(Math.floor) as [number, number];
    const hit = inDisc(y * width + x, discs[image.id - 1]!) > 0;
    const both = [hit ? inside[image.id - 1]! : nothing, spot];
    return { masks: both.map(({ mask }) => mask), scores: [0.9, 0.2], logits: both.map(({ logits }) => logits) };
  });

/** Pixels outside of a disc beside one inside. */
function outline(disc: readonly [number, number, number]): Uint8Array {
  const has = (at: number) => inDisc(at, disc) > 0;
  return Uint8Array.from({ length: width * height }, (_, at) =>
    !has(at) && [at - 1, at + 1, at - width, at + width].some(has) ? 255 : 0,
  );
}

async function writeSet(folder: string): Promise<{ images: string; boundaries: string }> {
  const folders = { images: path.join(folder, 'images'), boundaries: path.join(folder, 'boundaries') };
  await mkdir(folders.images, { recursive: true });
  await mkdir(folders.boundaries);
  const png = (file: string, data: Uint8Array) =>
    sharp(data, { raw: { width, height, channels: 1 } })
      .png()
      .toFile(file);
  for (const [i, disc] of discs.entries()) {
    await png(path.join(folders.images, `${i + 1}.png`), new Uint8Array(width * height).fill(90));
    for (const person of [1, 2]) {
      await png(path.join(folders.boundaries, `${i + 1}-${person}.png`), outline(disc)); // the tolerance is below 1 pixel
    }
  }
  return folders;
}

test('the protocol: exact masks of discs score nearly 1, into a results folder; shards give the same', async () => {
  const folders = await writeSet(path.join(work, 'set'));
  const run = { protocol: { name: 'edges' }, segment, model: { name: 'discs', weights: 'none' } } as const;
  const whole = await runProtocol({ ...run, images: readEdgeImages(folders), folder: path.join(work, 'whole') });
  const { ods, ois, ap } = whole.edges!;
  expect(ods).toBeGreaterThan(0.97);
  expect(ois).toBeGreaterThanOrEqual(ods! - 1e-9);
  expect(ap).toBeGreaterThan(0.85);
  const report = path.join(work, 'report');
  const runs = [await readResults(path.join(work, 'whole'))];
  await writeEvaluationReport({ folder: report, title: 'Edges', runs });
  expect(await readFile(path.join(report, 'report.md'), 'utf8')).toMatch(/## Edges[\s\S]*\| discs \| [01](\.\d+)? \|/);
  const parts = ['1', '2'].map((name) => path.join(work, name));
  for (const [i, folder] of parts.entries())
    await runProtocol({ ...run, images: readEdgeImages(folders), folder, shard: { part: i + 1, parts: 2 } });
  expect(await mergeResults(parts, { folder: path.join(work, 'merged') })).toEqual(whole);

  const silent: Segment = async (image, prompts) =>
    (await segment(image, prompts)).map(({ masks, scores }) => ({ masks, scores }));
  const images = readEdgeImages(folders);
  await expect(runProtocol({ ...run, segment: silent, images, folder: path.join(work, 'x') })).rejects.toThrow(
    "segment: '1.png': expected logits of each mask as asked for, got none",
  );
});

test('boundaries that are missing or of another size', async () => {
  const folders = await writeSet(path.join(work, 'bad'));
  await rm(path.join(folders.boundaries, '2-1.png'));
  await rm(path.join(folders.boundaries, '2-2.png'));
  await sharp(new Uint8Array(12), { raw: { width: 4, height: 3, channels: 1 } })
    .png()
    .toFile(path.join(folders.boundaries, '3-2.png'));
  const bad: BadRecord[] = [];
  const names: string[] = [];
  for await (const { name } of readEdgeImages(folders, { onBad: (record) => bad.push(record) })) names.push(name);
  expect(names).toEqual(['1.png']);
  expect(bad.map(badRecordText).map((text) => text.replaceAll(work, ''))).toEqual([
    "readEdgeImages: '2.png': /bad/boundaries: expected boundaries '2-1.png', …, got none",
    "readEdgeImages: '3.png': /bad/boundaries/3-2.png: expected grey levels of 96 x 80 pixels as the image has, got 1 channels of 4 x 3",
  ]);
  await expect(readEdgeImages({ ...folders, boundaries: path.join(work, 'none') }).next()).rejects.toThrow(
    /expected a folder '.*none', got ENOENT/,
  );
});
