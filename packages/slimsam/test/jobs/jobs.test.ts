import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  getBlob,
  getResult,
  type Job,
  jobHash,
  jobHead,
  type LocalRunner,
  localRunner,
  openStore,
  parseJob,
  putBlob,
  putFile,
  resultsInOrder,
  runJobs,
  type Store,
} from '../../src/jobs/index.ts';
import { rotated, slimSam } from '../../src/recipe/makers.ts';
import type { Recipe } from '../../src/recipe/recipe.ts';

let work = '';
const at = (...names: string[]) => path.join(work, ...names);
beforeAll(() => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-jobs-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

const hash = 'a'.repeat(64);
const sleep = (milliseconds: number, part = 1, parts = 1): Job => ({
  ...jobHead({ part, parts }),
  kind: 'sleep',
  milliseconds,
});

describe('a job', () => {
  test('has one hash, whatever the order of its keys', () => {
    const job = sleep(3);
    const turned = Object.fromEntries(Object.entries(job).reverse());
    expect(jobHash(parseJob(turned))).toBe(jobHash(job));
    expect(jobHash(sleep(4))).not.toBe(jobHash(job));
  });

  test.each<[string, object]>([
    ['no kind of ours', { kind: 'shell', command: 'rm' }],
    ['a path', { kind: 'embed', model: '/etc/passwd', photographs: hash }],
    ['an address', { kind: 'score', model: 'https://elsewhere', photographs: hash }],
    ['a field too many', { kind: 'sleep', milliseconds: 1, run: 'process.exit()' }],
    ['a shard outside', { kind: 'sleep', milliseconds: 1, shard: { part: 3, parts: 2 } }],
    ['a file outside of its folder', onnx('../../.bashrc')],
    ['a hidden file', onnx('.bashrc')],
    ['no number', { kind: 'sleep', milliseconds: Number.NaN }],
  ])('%s is refused', (_, job) => {
    expect(() => parseJob({ ...jobHead({ part: 1, parts: 1 }), ...job })).toThrow(
      /^job: expected one of slimsam's, got .*refused$/,
    );
  });

  test.each([null, 3, 'x', [], { __proto__: null }])('%o is refused', (data) => {
    expect(() => parseJob(data)).toThrow(/^job: expected one of slimsam's/);
  });

  test('a recipe is sent as data; a function in it is refused', () => {
    const compression = (recipe: Recipe): Job => ({
      ...jobHead({ part: 1, parts: 1 }),
      ...{ kind: 'compress', model: hash, photographs: hash, recipe },
      ...{ batch: 4, accumulate: 1, recompute: false, saveMinutes: 10 },
    });
    const job = compression(slimSam({ ratio: 0.5, promptEpochs: 2 }));
    expect(parseJob(job)).toEqual(job);
    const turned = compression(
      rotated({
        ...{ ratio: 0.77, small: 224, reconstruct: 8, relative: true, warmup: 5, decay: 'cosine' },
        augment: { flip: 0.5, scale: [0.7, 1.6], views: 8 },
      }),
    );
    expect(parseJob(JSON.parse(JSON.stringify(turned)))).toEqual(turned);
    expect(() => parseJob(compression(slimSam({ ratio: 0.5, loss: () => undefined as never })))).toThrow(
      /^job: expected one of slimsam's, got .*"loss".*refused$/,
    );
  });
});

function onnx(name: string): object {
  return { kind: 'evaluate', setting: hash, images: hash, model: { kind: 'onnx', files: [{ name, file: hash }] } };
}

describe('a folder as a store', () => {
  test('keeps blobs once, whole and checked', async () => {
    const store = await openStore(at('store'));
    const blob = await putBlob(store, 'some bytes');
    expect(await putBlob(store, 'some bytes')).toBe(blob);
    writeFileSync(at('file'), 'some bytes');
    expect(await putFile(store, at('file'))).toBe(blob);
    expect(Buffer.from(await getBlob(store, blob)).toString()).toBe('some bytes');
    const keys: string[] = [];
    for await (const { key } of store.list('blobs/')) keys.push(key);
    expect(keys).toEqual([`blobs/${blob.slice(0, 2)}/${blob}`]);
    writeFileSync(at('store', keys[0]!), 'other bytes');
    await expect(getBlob(store, blob)).rejects.toThrow(
      /to be what its hash says, got bytes of [0-9a-f]{64}; remove it/,
    );
    await expect(getBlob(store, hash)).rejects.toThrow(/expected a blob a+ in .*, got none/);
    await expect(store.read('../file')).rejects.toThrow(/expected a key/);
  });

  test('of many writers at once one wins', async () => {
    const stores = await Promise.all(Array.from({ length: 8 }, () => openStore(at('store'))));
    const won = await Promise.all(
      stores.map((store, i) => store.create('results/x', Buffer.from(String(i).repeat(9999)))),
    );
    expect(won.filter(Boolean)).toHaveLength(1);
    expect(Buffer.from((await stores[0]!.read('results/x'))!).toString()).toBe(String(won.indexOf(true)).repeat(9999));
    expect(readdirSync(at('store', 'results'))).toEqual(['x']); // no remains
  });

  test('that is a file, or full, is one clear error', async () => {
    await expect(openStore(at('file'))).rejects.toThrow(
      /--store: expected '.*' to be a folder or to become one, got a file/,
    );
    await expect(openStore('ftp://me:secret@host/x')).rejects.toThrow(
      /^(?!.*secret).*--store: expected a folder or s3/,
    );
    // a limit on a file's size takes the place of a full disk
    const script = `import('slimsam/jobs').then(async ({ openStore, putBlob }) => {
      process.on('SIGXFSZ', () => {});
      await putBlob(await openStore(${JSON.stringify(at('small'))}), new Uint8Array(1 << 20));
    }).catch((error) => { console.log(error.message); });`;
    const command = `ulimit -f 100; exec "$0" --conditions=@slimsam/source --import tsx --input-type=module -e "$1"`;
    const { stdout } = spawnSync('sh', ['-c', command, process.execPath, script], { encoding: 'utf8', cwd: __dirname });
    expect(stdout).toMatch(/store: expected to write 'blobs\/.*' to '.*', got EFBIG/);
    expect(readdirSync(at('small', 'blobs', '30'))).toEqual([]);
  });
});

describe('runJobs with child processes', () => {
  let store: Store;
  let runner: LocalRunner;
  beforeAll(async () => {
    store = await openStore(at('local'));
    runner = localRunner({ store: at('local'), backend: 'cpu', processes: 2 });
  });
  afterAll(() => runner.close());

  test('gives each result once, draws jobs as there is room, and computes nothing twice', async () => {
    let drawn = 0;
    function* jobs() {
      for (let part = 1; part <= 12; part++, drawn++) yield sleep(5, part, 12);
    }
    const found = new Set<string>();
    for await (const outcome of runJobs(jobs(), { runner, store })) {
      if ('error' in outcome) throw outcome.error;
      expect(outcome.known).toBe(false);
      expect(outcome.result.adapter).toMatch(/^tfjs-backend-cpu/);
      found.add(outcome.hash);
      expect(drawn - found.size).toBeLessThanOrEqual(2 * runner.window);
    }
    expect(found.size).toBe(12);
    const again = await resultsInOrder([...jobs()], { runner, store });
    expect(again.map(({ job }) => job)).toEqual([...jobs()].map(jobHash));
    for await (const outcome of runJobs(jobs(), { runner, store })) expect(outcome).toMatchObject({ known: true });
  });

  test('a job that fails is listed, and the others go on', async () => {
    const bad: Job = { ...jobHead({ part: 1, parts: 1 }), kind: 'embed', model: hash, photographs: hash };
    const outcomes = [];
    for await (const outcome of runJobs([bad, sleep(6)], { runner, store })) outcomes.push(outcome);
    expect(outcomes.map((outcome) => 'error' in outcome)).toContain(true);
    expect(outcomes).toHaveLength(2);
    await expect(resultsInOrder([bad, sleep(6)], { runner, store })).rejects.toThrow(
      /^1 of 2 jobs failed; embed 1 of 1: store: expected a blob a+/,
    );
  });

  test('processes that are killed are replaced, and their jobs begin anew', async () => {
    const running = resultsInOrder([sleep(1_500)], { runner, store });
    const pids = () => spawnSync('pgrep', ['-P', String(process.pid), '-f', 'process/main'], { encoding: 'utf8' });
    const before = pids().stdout.trim().split('\n');
    expect(before).toHaveLength(2);
    for (const pid of before) process.kill(Number(pid), 'SIGKILL');
    expect(await running).toHaveLength(1);
    expect(pids().stdout).not.toContain(before[0]);
  });

  test('the signal stops it', async () => {
    const stop = new AbortController();
    const running = resultsInOrder([sleep(30_001)], { runner, store, signal: stop.signal });
    setTimeout(() => stop.abort(new Error('enough')), 200);
    await expect(running).rejects.toThrow('enough');
    expect(await getResult(store, sleep(30_001))).toBeUndefined();
  });

  test('a result that is damaged is an error', async () => {
    const job = sleep(5, 1, 12);
    const key = `results/${jobHash(job).slice(0, 2)}/${jobHash(job)}`;
    writeFileSync(at('local', key), 'x');
    await expect(getResult(store, job)).rejects.toThrow(/got one that is damaged; remove 'results\//);
  });
});
