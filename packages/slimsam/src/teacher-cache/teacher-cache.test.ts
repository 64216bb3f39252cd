import '@tensorflow/tfjs-backend-cpu';
import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openTeacherCache } from './open-teacher-cache.ts';
import { cachedTeacher, type TeacherCache } from './teacher-cache.ts';

let folder = '';
let live = 0;
beforeEach(async () => {
  await tf.setBackend('cpu');
  folder = await mkdtemp(join(tmpdir(), 'teacher-cache-'));
  live = tf.memory().numTensors;
});
afterEach(async () => {
  expect(tf.memory().numTensors, 'tensors left over').toBe(live);
  await rm(folder, { recursive: true });
});

const key = { weights: 'abc', photographs: 'def', size: 64 };
const bytes = (n: number) => new Uint8Array(n).fill(7);
const kept = async (cache: TeacherCache, names: string[]) =>
  (await Promise.all(names.map((name) => cache.get(name)))).map((found) => found?.length);

test('keeps by name and key, whole files only, and finds them again', async () => {
  const cache = await openTeacherCache(folder, { key });
  await cache.put('../a photograph.jpg', bytes(10));
  expect(await kept(cache, ['../a photograph.jpg', 'another'])).toEqual([10, undefined]);
  const again = await openTeacherCache(folder, { key: { size: 64, photographs: 'def', weights: 'abc' } });
  expect(await kept(again, ['../a photograph.jpg'])).toEqual([10]);
  for (const other of [{ weights: 'x' }, { photographs: 'x' }, { size: 65 }])
    expect(await kept(await openTeacherCache(folder, { key: { ...key, ...other } }), ['../a photograph.jpg'])).toEqual([
      undefined,
    ]);
  const files = (await readdir(folder, { recursive: true })).filter((name) => name.includes('.'));
  expect(files).toEqual([expect.stringMatching(/^[0-9a-f]{32}.[0-9a-f]{32}\.safetensors$/)]);
});

test('is bounded: other keys leave, the oldest first; of its own, what comes later is not kept', async () => {
  const of = (size: number, limit: number) => openTeacherCache(folder, { key: { ...key, size }, limit });
  for (const size of [1, 2]) {
    const old = await of(size, 100);
    await old.put('a', bytes(40));
    const place = (await readdir(folder)).find((name) => !name.startsWith('seen'))!;
    await utimes(join(folder, place), size, size);
  }
  await writeFile(join(folder, 'notes.txt'), 'mine');
  const times = await Promise.all(
    (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).mtimeMs),
  );
  expect(times.length).toBe(3);
  const cache = await of(3, 100);
  await cache.put('a', bytes(40));
  expect((await readdir(folder)).length).toBe(3); // one key left, this one came
  await cache.put('b', bytes(40));
  await cache.put('c', bytes(40));
  await cache.put('d', bytes(20));
  expect(await kept(cache, ['a', 'b', 'c', 'd'])).toEqual([40, 40, undefined, 20]);
  expect((await readdir(folder)).filter((name) => name === 'notes.txt')).toEqual(['notes.txt']);
  await expect(openTeacherCache(folder, { key, limit: Number.NaN })).rejects.toThrow('expected a limit of 0 bytes');
});

test('a teacher runs once a photograph; found or made, an embedding is the one of half precision', async () => {
  const values = [0.1, -2.3, 1 / 3, 1e-5];
  let ran = 0;
  const model = {
    weights: { w: tf.scalar(1) },
    forward: (_: unknown, images: tf.Tensor4D, taps: readonly string[]) => {
      ran++;
      const B = images.shape[0];
      const embedding = tf.mul(
        tf.tile(tf.tensor(values, [1, 4, 1, 1]), [B, 1, 1, 1]),
        tf.mean(images, [1, 2, 3], true),
      );
      return { embedding, taps: Object.fromEntries(taps.map((name) => [name, tf.clone(embedding)])) };
    },
  };
  const cache = await openTeacherCache(folder, { key });
  const teacher = cachedTeacher(model, cache);
  const batch = (...names: string[]) => ({
    names,
    images: tf.tidy(() => tf.concat(names.map((name) => tf.fill([1, 3, 2, 2], name.length))) as tf.Tensor4D),
  });
  const features = async (taps: string[], ...names: string[]) => {
    const images = batch(...names);
    const { embedding, taps: tapped } = await teacher.features(images, taps);
    const read = { shape: embedding.shape, values: [...(await embedding.data())] };
    tf.dispose([images.images, embedding, { ...tapped }]);
    return read;
  };
  const made = await features([], 'a', 'bb');
  expect([made.shape, ran]).toEqual([[2, 4, 1, 1], 1]);
  for (const [i, x] of made.values.entries()) {
    const exact = values[i % 4]! * (i < 4 ? 1 : 2);
    expect(Math.abs(x - exact)).toBeLessThanOrEqual(Math.max(2 ** -11 * Math.abs(exact), 2 ** -25));
  }
  expect(await features([], 'bb', 'a')).toEqual({
    shape: made.shape,
    values: [...made.values.slice(4), ...made.values.slice(0, 4)],
  });
  expect(ran).toBe(1);
  expect((await features(['tap'], 'a')).values).toEqual(values.map(Math.fround)); // with taps it runs, as it is
  expect(ran).toBe(2);
  await features(['tap'], 'ccc');
  await features([], 'ccc'); // kept when it ran for its taps
  expect(ran).toBe(3);
  const [place] = await readdir(folder);
  for (const name of await readdir(join(folder, place!))) await writeFile(join(folder, place!, name), 'broken');
  expect(await features([], 'a', 'bb')).toEqual(made);
  expect(ran).toBe(4);
  tf.dispose(model.weights);
});
