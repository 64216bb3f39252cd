import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateScenes } from '@slimsam/scenes';
import { saveSam } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CellResult } from '../src/ablation/run-cell.ts';
import { summarise } from '../src/ablation/summarise-cells.ts';
import { runProgram } from '../src/cli/program.ts';
import { tinySam } from './tiny.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ablate-'));
  await generateScenes({ folder: join(folder, 'photographs'), count: 5, seed: 3, size: 64 });
  await tf.setBackend('cpu');
  await saveSam(join(folder, 'teacher.safetensors'), tinySam());
});
afterAll(() => rm(folder, { recursive: true }));

const grid = (...more: string[]) =>
  runProgram(
    [
      ...['ablate', join(folder, 'teacher.safetensors'), '--images', join(folder, 'photographs'), '--scenes', '1'],
      ...['--test', join(folder, 'photographs'), '--ratios', '0.5', '--seeds', '1', '--epochs', '1', '--steps', '1'],
      ...['--batch', '2', '--sample', '2', '--held', '2', '--out', join(folder, 'out'), '--backend', 'cpu', ...more],
    ],
    new AbortController().signal,
  );
const cells = () => readdir(join(folder, 'out', 'cells'));

it('computes the cells of a grid, goes on after a stop, and tells what came of them', async () => {
  const rows = ['--rows', 'disturbed-squared,taylor-labels,scratch,reference-heads'];
  expect(await grid(...rows, '--minutes', '0.000001')).toBe(0); // ends after the first cell
  expect(await cells()).toHaveLength(1);
  expect(await grid(...rows, '--report')).toBe(0);
  expect(await cells()).toHaveLength(1);
  expect(await grid(...rows)).toBe(0);
  const names = await cells();
  expect(names).toHaveLength(4);
  const all = await Promise.all(
    names.map(async (name) => JSON.parse(await readFile(join(folder, 'out', 'cells', name), 'utf8')) as CellResult),
  );
  for (const { optimizerSteps, sets, parameters } of all) {
    expect(optimizerSteps).toBe(2);
    expect(parameters).toBeGreaterThan(0);
    expect([sets.photographs!.teacher.length, sets.scenes!.teacher.length]).toEqual([5, 1]);
    for (const { teacher, labels, cosine } of Object.values(sets))
      for (const value of [...teacher, ...labels, ...cosine.map(Math.abs)]) expect(value >= 0 && value <= 1).toBe(true);
  }
  expect(await readdir(join(folder, 'out', 'running'))).toEqual([]);
  const report = await readFile(join(folder, 'out', 'report.md'), 'utf8');
  for (const row of ['disturbed-squared', 'taylor-labels', 'scratch', 'reference-heads']) expect(report).toContain(row);
  expect(await grid('--rows', 'scratch', '--rate', '0.01')).toBe(1); // another grid's folder
  expect(await grid('--rows', 'scrach')).toBe(2);
});

const cell = (seed: number, values: number[]): CellResult => ({
  ...{ row: 'a', ratio: 0.5, seed, facts: '', adapter: '', optimizerSteps: 1, seconds: 1, parameters: 1, macs: 1 },
  sets: { photographs: { error: values, cosine: values, teacher: values, labels: values } },
});

it('pairs by seed and image: a small constant difference stands out of large ones between images', () => {
  const values = Array.from({ length: 40 }, (_, i) => (i % 10) / 10);
  const base = [
    cell(1, values),
    cell(
      2,
      values.map((x) => x + 0.02),
    ),
  ];
  const better = base.map(({ seed, sets }) =>
    cell(
      seed,
      sets.photographs!.teacher.map((x) => x + 0.01),
    ),
  );
  const what = { set: 'photographs', measure: 'teacher' } as const;
  const difference = summarise(better, what, { less: base });
  for (const value of Object.values(difference)) expect(value).toBeCloseTo(0.01, 6);
  const alone = summarise(base, what);
  expect(alone.mean).toBeCloseTo(0.46, 6);
  expect(alone.high - alone.low).toBeGreaterThan(0.1);
  expect(alone.high - alone.low).toBeLessThan(0.3); // 4 standard errors of 0.287 / sqrt(40)
  expect(() => summarise([cell(3, values)], what, { less: base })).toThrow('expected cells of the same seeds');
});
