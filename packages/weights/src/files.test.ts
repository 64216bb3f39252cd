import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { loadWeights, saveWeights, writeFileAtomic } from './files.ts';
import { disposeWeights, scope } from './weights.ts';

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof fs>();
  return { ...real, open: vi.fn(real.open) };
});

let folder: string;
beforeEach(async () => {
  await tf.setBackend('cpu');
  folder = await fs.mkdtemp(join(tmpdir(), 'weights-'));
});
afterEach(() => fs.rm(folder, { recursive: true }));

test('weights survive the way to disk and back without a leak', async () => {
  const path = join(folder, 'w.safetensors');
  const before = tf.memory().numTensors;
  const weights = { 'a.weight': tf.tensor([1.5, -2, 3], [3, 1]), 'a.steps': tf.tensor([7], [1], 'int32') };
  await saveWeights(path, weights, { metadata: { seed: '1' } });
  const loaded = await loadWeights(path, { expected: { 'a.weight': [3, 1] } });
  expect(loaded.metadata).toEqual({ seed: '1' });
  expect(scope(loaded.weights, 'a')('weight').shape).toEqual([3, 1]);
  expect(await loaded.weights['a.weight']!.data()).toEqual(Float32Array.of(1.5, -2, 3));
  expect(loaded.weights['a.steps']!.dtype).toBe('int32');
  await saveWeights(path, weights, { dtype: 'F16' });
  const half = await loadWeights(path);
  expect(await half.weights['a.weight']!.data()).toEqual(Float32Array.of(1.5, -2, 3));
  expect(await fs.readdir(folder)).toEqual(['w.safetensors']);
  for (const table of [weights, loaded.weights, half.weights]) disposeWeights(table);
  expect(tf.memory().numTensors).toBe(before);
});

test('missing and misshapen weights are named with both shapes, and nothing leaks', async () => {
  const path = join(folder, 'w.safetensors');
  await saveWeights(path, { a: tf.zeros([2, 3]) });
  const before = tf.memory().numTensors;
  await expect(loadWeights(path, { expected: { a: [3, 2], b: [4] } })).rejects.toThrow(
    `loadWeights: in ${path} expected 'a' [3, 2], got [2, 3]; 'b' [4], got none`,
  );
  expect(tf.memory().numTensors).toBe(before);
});

test('unreadable files are named', async () => {
  const path = join(folder, 'none.safetensors');
  await expect(loadWeights(path)).rejects.toThrow(
    `openBytes: expected a readable file, got no such file or folder (ENOENT) for '${path}'`,
  );
  await expect(loadWeights(folder)).rejects.toThrow('got a folder (EISDIR)');
});

test('a failed write is one clear error, leaves the old file and no temporary one', async () => {
  const path = join(folder, 'kept.txt');
  await writeFileAtomic(path, 'old');
  const { open } = await vi.importActual<typeof fs>('node:fs/promises');
  vi.mocked(fs.open).mockImplementationOnce(async (...args) => {
    const file = await open(...args);
    file.sync = () => Promise.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
    return file;
  });
  await expect(writeFileAtomic(path, 'new')).rejects.toThrow(
    `writeFileAtomic: expected to write 3 bytes to '${path}', got a full disk (ENOSPC); free some space`,
  );
  expect(await fs.readdir(folder)).toEqual(['kept.txt']);
  expect(await fs.readFile(path, 'utf8')).toBe('old');

  await expect(writeFileAtomic(join(path, 'x'), 'new')).rejects.toThrow('a file where a folder should be (ENOTDIR)');
  await expect(writeFileAtomic(join(folder, 'no', 'x'), 'new')).rejects.toThrow('no such file or folder (ENOENT)');
  await fs.mkdir(join(folder, 'sub'));
  await expect(writeFileAtomic(join(folder, 'sub'), 'new')).rejects.toThrow('a folder (EISDIR)');
  expect((await fs.readdir(folder)).sort()).toEqual(['kept.txt', 'sub']);
});

test('a missing weight is named with its nearest neighbours', () => {
  const weights = { 'blocks.3.attn.qkv.bias': tf.scalar(0), 'neck.0.weight': tf.scalar(0) };
  expect(() => scope(weights, 'blocks.3.attn')('qkv.weight')).toThrow(
    "scope: expected weight 'blocks.3.attn.qkv.weight', got none; the nearest names are 'blocks.3.attn.qkv.bias', 'neck.0.weight'",
  );
});
