import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateScene } from '@slimsam/scenes';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EvalImage } from '../data/eval-image.ts';
import { encodeRle } from '../masks/rle.ts';
import { compareResults } from '../protocols/compare-results.ts';
import { readResults } from '../protocols/results-folder.ts';
import { runProtocol } from '../protocols/run-protocol.ts';
import { writeEvaluationReport } from './evaluation-report.ts';

let work = '';
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-evaluation-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

const size = { width: 64, height: 48 };
const images: readonly EvalImage[] = [1, 2, 3, 4, 5, 6].map((seed) => {
  const { image, annotations } = generateScene(seed, size);
  return {
    ...{ id: seed, name: `${seed}.raw`, ...size, bytes: async () => image.data },
    annotations: annotations.map(({ mask, bbox, area }, i) => ({
      id: seed * 100 + i,
      bbox,
      area,
      segmentation: encodeRle(mask, size),
    })),
  };
});

/** Boxes, drawn in by `margin` pixels: the smaller margin is the better model. */
const run = async (name: string, margin: number) => {
  const folder = path.join(work, name);
  await runProtocol({
    ...{ protocol: { name: 'instances', rules: 'coco' }, images, folder, model: { name, weights: name } },
    segment: async (_, prompts) =>
      prompts.map(({ box }) => ({
        scores: [box![0] / 64],
        masks: [
          Uint8Array.from({ length: 64 * 48 }, (_, at) => {
            const [x, y] = [at % 64, Math.floor(at / 64)];
            const [left, top, width, height] = box!;
            return Number(
              x >= left + margin && y >= top + margin && x < left + width - margin && y < top + height - margin,
            );
          }),
        ],
      })),
  });
  return readResults(folder);
};

test('one page with tables, curves, best and worst masks; Markdown, PNG and SVG beside it', async () => {
  const runs = [await run('tight', 0), await run('loose', 3)];
  const comparison = compareResults(runs[0]!, runs[1]!);
  expect(comparison.difference).toBeCloseTo(runs[1]!.summary.miou! - runs[0]!.summary.miou!, 12);
  expect(comparison.interval[0]).toBeLessThan(comparison.difference);
  expect(comparison.interval[1]).toBeGreaterThan(comparison.difference);
  expect(comparison).toEqual(compareResults(runs[0]!, runs[1]!));
  expect(compareResults(runs[0]!, runs[0]!)).toMatchObject({ difference: 0, interval: [0, 0], better: 0.5 });

  const folder = path.join(work, 'report');
  const pixels = async ({ id }: { id: number }) => generateScene(id, size).image;
  const latency = new Map([
    ['tight', 12],
    ['loose', 7],
  ]);
  const page = await writeEvaluationReport({ folder, title: 'Boxes', runs, latency, pixels, masks: 1 });
  const html = await readFile(page, 'utf8');
  for (const heading of [
    'Results',
    'Mean IoU by the size',
    'Average precision',
    'Compared mask by mask',
    'Histogram of IoU',
    'Precision against recall',
    'Speed against quality',
    'Best mask 1 of tight',
    'Worst mask 1 of loose',
  ]) {
    expect(html).toContain(heading);
  }
  expect(html.replaceAll(/xmlns(:xlink)?="[^"]*"/g, '')).not.toMatch(/https?:/);
  const markdown = await readFile(path.join(folder, 'report.md'), 'utf8');
  expect(markdown).toMatch(/\| tight \| 6 \| \d+ \| 0\.\d{4} \|/);
  const files = await readdir(folder);
  expect(files.filter((name) => name.endsWith('.svg'))).toHaveLength(
    files.filter((name) => name.endsWith('.png')).length,
  );
});

test('no run, or runs of several protocols, are refused', async () => {
  await expect(writeEvaluationReport({ folder: work, title: '', runs: [] })).rejects.toThrow('got none');
  const other = { ...(await readResults(path.join(work, 'tight'))) };
  const clicks = { ...other, config: { ...other.config, protocol: 'clicks' } };
  await expect(writeEvaluationReport({ folder: work, title: '', runs: [other, clicks] })).rejects.toThrow(
    'got instances, clicks',
  );
  const changed = { ...other, records: other.records.map((record) => ({ ...record, data: 'x' })) };
  expect(() => compareResults(other, changed)).toThrow('expected the same data in both runs');
});
