import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addRun, type BenchRun, compareRuns, readHistory } from './history.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'slimsam-bench-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A run in which the case `a` took so many milliseconds. */
const run = (best: number, more: Partial<BenchRun> = {}): BenchRun => ({
  date: '2026-01-02T03:04:05.678Z',
  commit: 'abcdef0',
  adapter: 'llvmpipe',
  processor: '2 x a processor',
  node: '20.19.0',
  cases: { a: { best, median: best * 1.1, dispatches: 3 } },
  ...more,
});

test('runs are added and read in their order', async () => {
  const file = path.join(folder, 'history.jsonl');
  expect(readHistory(file)).toEqual([]);
  await addRun(file, run(1));
  await addRun(file, run(2, { commit: 'abcdef1+' }));
  expect(readHistory(file)).toEqual([run(1), run(2, { commit: 'abcdef1+' })]);
});

test('a damaged line is named, and nothing is added to the file', async () => {
  const file = path.join(folder, 'damaged.jsonl');
  writeFileSync(file, `${JSON.stringify(run(1))}\n{"date":"today"}\n`);
  await expect(addRun(file, run(2))).rejects.toThrow(
    /bench: expected a run in line 2 of .*, got .*date.*; remove the line/s,
  );
  writeFileSync(file, 'cut{');
  expect(() => readHistory(file)).toThrow(/line 1/);
});

test('slower is more than the threshold above the median of the last five, and above all of them', () => {
  const before = [1, 50, 50, 50, 10, 10, 10.5, 9.5, 12].map((best) => run(best)); // the last five count: median 10, largest 12
  const told = (best: number) => compareRuns(run(best), before, 1.1)[0]!;
  expect(told(12.5)).toEqual({ name: 'a', ratio: 1.25, change: 'slower', dispatches: 0 });
  expect(told(11.5).change).toBe('same'); // above the threshold, but 12 was there before
  expect(told(9.2).change).toBe('same');
  expect(told(8).change).toBe('faster');
});

test('only the same adapter, processor and major version of Node are compared', () => {
  const others = [{ adapter: 'a GPU' }, { processor: '4 x a processor' }, { node: '22.1.0' }];
  for (const other of others) expect(compareRuns(run(20), [run(10, other)], 1.1)).toEqual([]);
  expect(compareRuns(run(20), [run(10, { node: '20.20.0' })], 1.1)[0]!.change).toBe('slower');
});

test('dispatches are compared with the last run, new cases with nothing', () => {
  const more = run(10, {
    cases: { a: { best: 10, median: 11, dispatches: 5 }, b: { best: 1, median: 1, dispatches: 1 } },
  });
  expect(compareRuns(more, [run(10)], 1.1)).toEqual([{ name: 'a', ratio: 1, change: 'same', dispatches: 2 }]);
});
