import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateScenes } from '@slimsam/scenes';
import { saveSam } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runProgram } from '../../src/cli/program.ts';
import { capturedOutput } from '../captured-output.ts';
import { tinySam } from '../tiny.ts';

let work = '';
const at = (...names: string[]) => path.join(work, ...names);
beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-sweep-jobs-'));
  await tf.setBackend('cpu');
  await saveSam(at('sam.safetensors'), tinySam(5));
  await generateScenes({ folder: at('photos'), count: 3, seed: 2, size: 64 });
  await generateScenes({ folder: at('tests'), count: 1, seed: 3, size: 64 });
});
afterAll(() => rmSync(work, { recursive: true, force: true }));
const printed = capturedOutput();

/** Words that start with '@' are paths of the test's folder. */
const slimsam = (line: string) => {
  const words = line.split(' ').map((word) => (word.startsWith('@') ? at(word.slice(1)) : word));
  return runProgram([...words, '--backend', 'cpu'], new AbortController().signal);
};
const budget = '--images @photos --epochs 1 --steps 1 --batch 1 --sample 1 --held 1';
const text = (...names: string[]) => readFileSync(at(...names), 'utf8');

/** Runs a command while another coordinator has its folder. */
async function underOtherLock(folder: string, line: string): Promise<number> {
  writeFileSync(at(folder, 'run.lock'), JSON.stringify({ host: 'another', pid: 1, began: '', since: 'today' }));
  const code = await slimsam(line);
  rmSync(at(folder, 'run.lock'));
  return code;
}

test('a sweep by jobs: the files of one process; what is finished is not computed again', async () => {
  const line = `sweep @sam.safetensors ${budget} --ratios 0.5,0.5`; // twice the same is one
  expect(await slimsam(`${line} --out @one`), printed.err).toBe(0);
  expect(await slimsam(`${line} --out @many --store @store`), printed.err).toBe(0);
  const cell = 'slimsam-0.5-1';
  expect(readdirSync(at('many', cell)).sort()).toEqual([
    ...['cell.json', 'metrics.jsonl', 'run.json', 'slim.plan.json', 'slim.safetensors'],
  ]);
  expect(readdirSync(at('one', cell)).sort()).toEqual(readdirSync(at('many', cell)).sort());
  for (const name of ['cell.json', 'run.json', 'slim.plan.json'])
    expect(text('many', cell, name)).toBe(text('one', cell, name));
  expect(readFileSync(at('many', cell, 'slim.safetensors'))).toEqual(readFileSync(at('one', cell, 'slim.safetensors')));
  expect(JSON.parse(text('one', cell, 'cell.json')).parameters).toBeGreaterThan(0);
  expect(text('many', 'report.md')).toBe(text('one', 'report.md'));

  // the store is gone, and the cells are there: none is a job any more, however large the sweep
  rmSync(at('store'), { recursive: true });
  expect(await slimsam(`${line} --out @many --store @store --json`), printed.err).toBe(0);
  expect(readdirSync(at(''))).not.toContain('store');
  expect(await slimsam(`${line} --rate 0.01 --out @many`)).toBe(1);
  expect(printed.err).toMatch(/sweep: expected in '.*cell.json' a cell of .*; take another folder/);
  expect(await underOtherLock('many', `${line} --out @many --store @store`)).toBe(1);
  expect(printed.err).toMatch(/for this process alone, got the lock run\.lock of process 1 on another since today/);
  expect(await slimsam('sweep @sam.safetensors --images @photos --recipes slimmer')).toBe(2);
  expect(printed.err).toMatch(/expected slimsam, one-shot, .+, got 'slimmer'/);
}, 300_000); // whole compressions, alone and by jobs: over a minute where other programs hold the cores

test('an ablation by jobs: the cells of one process', async () => {
  const rows = 'disturbed-squared,taylor-labels';
  const line = `ablate @sam.safetensors ${budget} --test @tests --scenes 1 --rows ${rows} --seeds 1 --ratios 0.5`;
  expect(await slimsam(`${line} --out @grid-one`), printed.err).toBe(0);
  expect(await slimsam(`${line} --out @grid-many --store @store`), printed.err).toBe(0);
  const cells = readdirSync(at('grid-one', 'cells'));
  expect(readdirSync(at('grid-many', 'cells'))).toEqual(cells);
  expect(cells).toHaveLength(2);
  for (const cell of cells) {
    const [one, many] = ['grid-one', 'grid-many'].map((grid) => JSON.parse(text(grid, 'cells', cell)));
    expect({ ...many, seconds: 0 }).toEqual({ ...one, seconds: 0 });
    expect(Object.keys(many)).toEqual(Object.keys(one));
  }
  expect(await slimsam(`${line} --out @grid-many --store @store --minutes 1`)).toBe(1);
  expect(printed.err).toMatch(/ablate: expected --minutes without --store/);
  expect(await underOtherLock('grid-many', `${line},0.25 --out @grid-many --store @store`)).toBe(1);
  expect(printed.err).toMatch(/for this process alone, got the lock run\.lock of process 1 on another since today/);
}, 300_000);
