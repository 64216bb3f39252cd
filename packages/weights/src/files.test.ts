import { execFileSync, spawn } from 'node:child_process';
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
  const fifo = join(folder, 'fifo.safetensors');
  execFileSync('mkfifo', [fifo]); // nobody writes into it: opening would wait for ever
  await expect(loadWeights(fifo)).rejects.toThrow(`got a FIFO, not a regular file for '${fifo}'`);
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

test('what could not be read back is not written', async () => {
  const path = join(folder, 'w.safetensors');
  const weights = { a: tf.scalar(1) };
  await saveWeights(path, weights);
  const wrong = (options: unknown) => saveWeights(path, weights, options as Parameters<typeof saveWeights>[2]);
  await expect(wrong({ dtype: 'F64' })).rejects.toThrow("saveWeights: expected dtype 'F32' or 'F16'");
  await expect(wrong({ metadata: { epoch: 3 } })).rejects.toThrow('__metadata__ as an object of strings');
  await expect(wrong({ metadata: ['x'] })).rejects.toThrow('__metadata__ as an object of strings');
  await expect(saveWeights(path, { __metadata__: tf.scalar(1) })).rejects.toThrow("another name than '__metadata__'");
  expect(Object.keys((await loadWeights(path)).weights)).toEqual(['a']);
  expect(await fs.readdir(folder)).toEqual(['w.safetensors']);
});

test('a tensor named like a property of every object is kept', async () => {
  const path = join(folder, 'w.safetensors');
  await saveWeights(path, Object.fromEntries([['__proto__', tf.scalar(1)]]));
  expect(Object.keys((await loadWeights(path)).weights)).toEqual(['__proto__']);
});

test('temporary files of killed writes are removed by the next write into the folder; those of living ones stay', async () => {
  const work = join(folder, 'run');
  await fs.mkdir(work);
  const script = `
    import { writeFileAtomic } from ${JSON.stringify(new URL('./files.ts', import.meta.url).href)};
    async function* never() { yield new Uint8Array(10); process.send('writing'); await new Promise(() => setInterval(() => {}, 1000)); }
    await writeFileAtomic(${JSON.stringify(join(work, 'a.bin'))}, never());`;
  const child = spawn(
    process.execPath,
    ['--conditions=@slimsam/source', '--import', 'tsx', '--input-type=module', '-e', script],
    { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  );
  await new Promise((resolve) => child.once('message', resolve));
  const [left] = await fs.readdir(work);
  expect(left).toMatch(/^\.a\.bin\..*\.tmp$/);
  await fs.writeFile(join(work, left!.replace(`-${child.pid}-`, `-${process.pid}-`)), 'of a process that is alive');
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  await writeFileAtomic(join(work, 'b.bin'), 'b');
  expect((await fs.readdir(work)).sort()).toEqual(
    [left!.replace(`-${child.pid}-`, `-${process.pid}-`), 'b.bin'].sort(),
  );
});

test('a missing weight is named with its nearest neighbours', () => {
  const weights = { 'blocks.3.attn.qkv.bias': tf.scalar(0), 'neck.0.weight': tf.scalar(0) };
  expect(() => scope(weights, 'blocks.3.attn')('qkv.weight')).toThrow(
    "scope: expected weight 'blocks.3.attn.qkv.weight', got none; the nearest names are 'blocks.3.attn.qkv.bias', 'neck.0.weight'",
  );
});
