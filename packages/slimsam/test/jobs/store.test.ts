import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openCrew } from '../../src/cli/many-machines.ts';
import { output } from '../../src/cli/output.ts';
import { getBlob, type Job, jobHash, jobHead, openStore, putBlob, type Store } from '../../src/jobs/index.ts';
import { blobKey, putResult } from '../../src/jobs/store/blobs.ts';
import { collectGarbage, recordedStore } from '../../src/jobs/store/runs.ts';
import { capturedOutput } from '../captured-output.ts';

let work = '';
beforeAll(() => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-store-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));
const printed = capturedOutput();

const hour = 3_600_000;
const things = async (store: Store, prefix: string) => {
  const found: string[] = [];
  for await (const { key } of store.list(prefix)) found.push(key);
  return found.sort();
};
/** Makes all that is in a folder's store hours older. */
async function grow(store: Store, hours: number): Promise<void> {
  for (const prefix of ['blobs/', 'results/', 'checkpoints/', 'runs/']) {
    for await (const { key, modified } of store.list(prefix)) {
      const then = (modified - hours * hour) / 1000;
      utimesSync(path.join(store.location, key), then, then);
    }
  }
}

test('gc frees what old runs alone have put there, by age or by name, and nothing while a run is at work', async () => {
  const store = await openStore(path.join(work, 'gc'));
  const old = await recordedStore(store, 'old');
  const [own, shared] = [await putBlob(old, 'of the old run'), await putBlob(old, 'of both')];
  await old.close();
  const stray = await putBlob(store, 'of no run');
  await grow(store, 30);

  const live = await recordedStore(store, 'new');
  await putBlob(live, 'of both'); // there already, and not noted in the store so far
  await expect(collectGarbage(store, { age: hour })).rejects.toThrow(
    /^store gc: expected no run at work, got new; wait/,
  );
  await expect(collectGarbage(store, { age: hour, run: 'old' })).rejects.toThrow(/no run at work/);
  expect(await things(store, 'blobs/')).toHaveLength(3);
  const fresh = await putBlob(live, 'of the new run');
  await live.close();

  await expect(collectGarbage(store, { age: hour, run: 'none' })).rejects.toThrow(/expected a run of .*, got 'none'/);
  expect(await collectGarbage(store, { age: 31 * hour })).toEqual({ things: 0, bytes: 0, runs: [] });
  expect(await collectGarbage(store, { age: hour })).toEqual({ things: 2, bytes: 23, runs: ['old'] });
  expect(await things(store, 'blobs/')).toEqual([blobKey(shared), blobKey(fresh)].sort());
  await expect(getBlob(store, own)).rejects.toThrow(/got none/);
  await expect(getBlob(store, stray)).rejects.toThrow(/got none/);
  expect((await collectGarbage(store, { age: hour, run: 'new' })).things).toBe(2);
  expect(await things(store, '')).toEqual([]);
});

test('what a run has noted is not lost where its page cannot be written', async () => {
  const store = await openStore(path.join(work, 'away'));
  let away = false;
  const frail: Store = {
    ...store,
    create: (key, content) => (away ? Promise.reject(new Error('out of reach')) : store.create(key, content)),
  };
  const run = await recordedStore(frail, 'run');
  const blob = await putBlob(run, 'bytes of the run');
  away = true;
  await expect(run.close()).rejects.toThrow('out of reach');
  away = false;
  await run.close();
  expect(await collectGarbage(store, { age: 0, run: 'run' })).toMatchObject({ runs: ['run'], things: 1 });
  await expect(getBlob(store, blob)).rejects.toThrow(/got none/);
});

test('gc: a run that was killed is at work for ten minutes; a clock of this machine that is wrong by hours does not count', async () => {
  const store = await openStore(path.join(work, 'clock'));
  const killed = await recordedStore(store, 'killed'); // its sign of life stays
  await putBlob(killed, 'some bytes');
  await expect(collectGarbage(store, { age: 2 * hour })).rejects.toThrow(/no run at work, got killed/);
  await grow(store, 1);
  const now = Date.now;
  Date.now = () => now() + 9 * hour;
  try {
    expect((await collectGarbage(store, { age: 2 * hour })).things).toBe(0);
  } finally {
    Date.now = now;
  }
  await grow(store, 2);
  expect((await collectGarbage(store, { age: 2 * hour })).runs).toEqual(['killed']);
});

test('a blob that is damaged, or no JSON of ours, is an error; results of two adapters are told, or refused', async () => {
  const location = path.join(work, 'mix');
  const store = await openStore(location);
  const nap = (part: number): Job => ({ ...jobHead({ part, parts: 3 }), kind: 'sleep', milliseconds: 1 });
  const jobs = [nap(1), nap(2), nap(3)];
  for (const [i, job] of jobs.entries()) {
    const adapter = i === 1 ? 'SwiftShader' : 'llvmpipe';
    const facts = { format: 1, version: '0.1.0', worker: 'w', seconds: 1, value: {}, outputs: {} } as const;
    await putResult(store, { ...facts, job: jobHash(job), adapter });
  }
  const signal = new AbortController().signal;
  const crewOf = (sameAdapter: boolean) => {
    const options = { store: location, processes: 1, sameAdapter, backend: 'cpu' };
    return openCrew(options, { run: 'mix', output: output({ json: false }), signal });
  };
  const allOf = async (sameAdapter: boolean) => {
    const crew = await crewOf(sameAdapter);
    try {
      for await (const _ of crew.done('naps', { jobs, total: 3 }));
      return crew.adapters();
    } finally {
      await crew.close();
    }
  };
  expect(await allOf(false)).toEqual({ llvmpipe: 'naps 1, 3', SwiftShader: 'naps 2' });
  expect(printed.err).toMatch(/adapters differ, .*: llvmpipe: naps 1, 3; SwiftShader: naps 2/);
  await expect(allOf(true)).rejects.toThrow(
    /^--same-adapter: expected one adapter, got llvmpipe: naps 1; SwiftShader: naps 2; .*take another --store/,
  );
  writeFileSync(path.join(location, `results/${jobHash(nap(3)).slice(0, 2)}/${jobHash(nap(3))}`), 'damaged');
  await expect(allOf(false)).rejects.toThrow(/got one that is damaged; remove 'results\//);
});
