/** A short run of `npm run fuzz`, and what holds it to account: valid inputs are read, and a reader that misbehaves is found. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formats } from './formats.ts';
import { fuzz } from './fuzz.ts';
import { validInputs } from './mutate.ts';
import { isSlow, wordsOf } from './verdict.ts';

let folder: string;
beforeAll(async () => {
  await tf.setBackend('cpu');
  folder = await mkdtemp(join(tmpdir(), 'fuzz-test-'));
});
afterAll(() => rm(folder, { recursive: true }));

test.each(Object.keys(formats))('valid inputs are read: %s', async (name) => {
  for (const bytes of await validInputs(formats[name]!, { seed: 3 })) await formats[name]!.read(bytes, folder);
});

test('mutated inputs of every format are read or refused, in time, in bounds and in words', async () => {
  const names = Object.keys(formats);
  const tallies = await fuzz(names, { seed: 20261127, first: 0, count: 40 * names.length, folder });
  expect([...tallies].flatMap(([name, { problems }]) => problems.map((problem) => ({ name, ...problem })))).toEqual([]);
  for (const [name, { inputs, refused }] of tallies) {
    expect(inputs, name).toBe(40);
    expect(refused, name).toBeGreaterThan(5);
  }
});

test('a slow, greedy, leaking or wordless reading is told', () => {
  const fine = { refused: undefined, seconds: 0.1, processor: 0.1, grown: 1e6, size: 100, leaked: 0 };
  expect(wordsOf(fine)).toEqual([]);
  expect(wordsOf({ ...fine, refused: 'read: expected 3 bytes, got 2' })).toEqual([]);
  expect(wordsOf({ ...fine, seconds: 2.6, processor: 2.1 })).toEqual(['2.6 s, 2.1 s of processor time']);
  expect(isSlow({ ...fine, seconds: 9, processor: 1.9 }), 'a busy machine').toBe(false);
  expect(isSlow({ ...fine, seconds: 9, processor: 0.1 }), 'it waits').toBe(true);
  expect(wordsOf({ ...fine, grown: 3e8 })).toEqual(['300 MB for 100 bytes']);
  expect(wordsOf({ ...fine, leaked: 1 })).toEqual(['1 tensors stayed']);
  expect(wordsOf({ ...fine, refused: "Cannot read properties of undefined (reading 'x')" })).toHaveLength(2);
  expect(wordsOf({ ...fine, refused: 'expected \u001b[2J' })).toEqual([expect.stringContaining('control characters')]);
});
