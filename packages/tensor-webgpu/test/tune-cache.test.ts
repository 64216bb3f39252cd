import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { profile, type TunedKernel, tune } from '../src/index.ts';
import { openedBackend, spread } from './both-backends.ts';

const opened = openedBackend();
const folder = mkdtempSync(join(tmpdir(), 'tune-'));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());

const work = () => tf.tidy(() => void tf.matMul(spread([20, 40]), spread([40, 60])));

async function tuned(cache?: string): Promise<TunedKernel> {
  const rows = [];
  for await (const row of tune(opened(), work, cache === undefined ? {} : { cache })) rows.push(row);
  expect(rows).toHaveLength(1);
  return rows[0]!;
}

test('times are kept in the file and found again, winners with them', async () => {
  const file = join(folder, 'a folder/times.json');
  const first = await tuned(file);
  expect(first.cached).toBe(false);
  expect(await tuned(file)).toEqual({ ...first, cached: true });
  const other = Object.keys(first.milliseconds).find((name) => name !== first.winner)!;
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace(`"winner":"${first.winner}"`, `"winner":"${other}"`));
  expect((await tuned(file)).winner).toBe(other);
  const { dispatches } = await profile(opened(), work);
  expect(dispatches.map(({ label }) => label)).toEqual([`matmul-${other}`]);
  expect(readdirSync(join(folder, 'a folder'))).toEqual(['times.json']);
});

test('other programs or another adapter are timed anew, beside what is known', async () => {
  const file = join(folder, 'programs.json');
  await tuned(file);
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace(/"programs":"..../, '"programs":"0000'));
  expect((await tuned(file)).cached).toBe(false);
  expect((await tuned(file)).cached).toBe(true);
  const real = opened().facts;
  Object.assign(opened(), { facts: { ...real, name: 'another' } });
  try {
    expect((await tuned(file)).cached).toBe(false);
  } finally {
    Object.assign(opened(), { facts: real });
  }
  expect((await tuned(file)).cached).toBe(true);
});

const warnings = () => vi.spyOn(console, 'warn').mockImplementation(() => {});

test.each([
  ['cut short', (text: string) => text.slice(0, 80)],
  ['of another version', (text: string) => text.replace('"version":1', '"version":2')],
  ['without a version', (text: string) => text.replace('"version":1,', '')],
  ['with a winner that was not timed', (text: string) => text.replace(/"winner":"[^"]*"/, '"winner":"toString"')],
  ['with a time that is no number', (text: string) => text.replace(/(milliseconds":{"[^"]*":)[^,}]*/, '$1null')],
  ['of another shape', (text: string) => text.replace(/"known":.*/, '"known":{"__proto__":1}}')],
])('a cache %s is measured and written anew, said once', async (what, damaged) => {
  const file = join(folder, `${what}.json`);
  await tuned(file);
  writeFileSync(file, damaged(readFileSync(file, 'utf8')));
  const warn = warnings();
  expect((await tuned(file)).cached).toBe(false);
  expect((await tuned(file)).cached).toBe(true);
  expect(warn).toHaveBeenCalledExactlyOnceWith(
    `tune: expected times of version 1 in '${file}', got damaged or other ones; they are measured anew`,
  );
  warn.mockRestore();
});

test('a file of something else is left alone, as are places that cannot be read or written: said once, and tuning goes on', async () => {
  const file = join(folder, 'mine.json');
  writeFileSync(file, '{ "name": "mine" }');
  const warn = warnings();
  const inside = join(file, 'times.json');
  const unwritable = join(folder, `${'x'.repeat(245)}.json`); // what is written first has a longer name than file systems take
  for (const place of [file, file, folder, inside, unwritable]) {
    const { cached, winner } = await tuned(place);
    expect(cached).toBe(false);
    const { dispatches } = await profile(opened(), work);
    expect(dispatches.map(({ label }) => label)).toEqual([`matmul-${winner}`]);
  }
  const kept = 'times are kept for this run only, give another cache';
  expect(warn.mock.calls.map(([text]) => text)).toEqual([
    `tune: expected times that tune wrote in '${file}', got '{ "name": "mine" }'; ${kept}`,
    `tune: expected to read '${folder}', got EISDIR; ${kept}`,
    `tune: expected to read '${inside}', got ENOTDIR; ${kept}`,
    `tune: expected to write '${unwritable}', got ENAMETOOLONG; ${kept}`,
  ]);
  warn.mockRestore();
  expect(readFileSync(file, 'utf8')).toBe('{ "name": "mine" }');
});

test("unless given, it lies in the user's cache folder", async () => {
  vi.stubEnv('XDG_CACHE_HOME', folder);
  await tuned();
  expect(readdirSync(join(folder, 'slimsam'))).toEqual(['tuned.json']);
});
