import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { profile, type TunedMatmul, tune } from '../src/index.ts';
import { openedBackend, spread } from './both-backends.ts';

const opened = openedBackend();
const folder = mkdtempSync(join(tmpdir(), 'tune-'));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());

const work = () => tf.tidy(() => void tf.matMul(spread([20, 40]), spread([40, 60])));

async function tuned(cache?: string): Promise<TunedMatmul> {
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

test('a file that was cut short is written anew; one of something else is left alone, and told before anything runs', async () => {
  const file = join(folder, 'broken.json');
  await tuned(file);
  writeFileSync(file, readFileSync(file, 'utf8').slice(0, 80));
  expect((await tuned(file)).cached).toBe(false);
  expect((await tuned(file)).cached).toBe(true);
  writeFileSync(file, '{ "name": "mine" }');
  const run = vi.spyOn(opened(), 'run');
  await expect(tuned(file)).rejects.toThrow(
    `tune: expected times that tune wrote in '${file}', got '{ "name": "mine" }'; remove it or give another cache`,
  );
  expect(run).not.toHaveBeenCalled();
  run.mockRestore();
  expect(readFileSync(file, 'utf8')).toBe('{ "name": "mine" }');
  await expect(tuned(folder)).rejects.toThrow(`tune: expected to read '${folder}', got EISDIR; give another cache`);
  const inside = join(file, 'times.json');
  await expect(tuned(inside)).rejects.toThrow(`tune: expected to read '${inside}', got ENOTDIR; give another cache`);
});

test("unless given, it lies in the user's cache folder", async () => {
  vi.stubEnv('XDG_CACHE_HOME', folder);
  await tuned();
  expect(readdirSync(join(folder, 'slimsam'))).toEqual(['tuned.json']);
});
