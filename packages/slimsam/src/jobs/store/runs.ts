import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { sha256 } from '../job.ts';
import type { JobOutcome } from '../run-jobs.ts';
import { blobKey, resultKey } from './blobs.ts';
import { filesOfCheckpoint } from './checkpoints.ts';
import type { Store } from './store.ts';

/** A store that notes what a run puts there, so that it can be removed by run. */
export interface RecordedStore extends Store {
  /** Notes a job's result and what it holds. */
  noteOutcome(outcome: JobOutcome): Promise<void>;
  /** Writes what is noted; the run is no longer at work. */
  close(): Promise<void>;
}

const pageSize = 1000;
const pageSchema = z.array(z.string());
/** Milliseconds between two signs of life of a run, and without one after which it is not at work. */
const [beat, silence] = [60_000, 10 * 60_000];
const isSign = (key: string): boolean => /^runs\/[^/]+\/alive-/.test(key);

/**
 * Notes under the name of a run all that is put into a store, and keeps a sign of life there until it is closed: nothing is removed from
 * the store meanwhile.
 *
 * @param run letters, digits and hyphens
 */
export async function recordedStore(store: Store, run: string): Promise<RecordedStore> {
  let keys: string[] = [];
  let sign: string | undefined;
  const live = async () => {
    const before = sign;
    sign = `runs/${run}/alive-${randomUUID()}`;
    await store.create(sign, Buffer.from('[]'));
    if (before) await store.remove(before);
  };
  const flush = async () => {
    const noted = keys;
    keys = [];
    if (noted.length === 0) return;
    const page = JSON.stringify([...new Set(noted)].sort());
    await store.create(`runs/${run}/${sha256(page)}`, Buffer.from(page)).catch((error: unknown) => {
      keys = [...noted, ...keys]; // for the next page
      throw error;
    });
  };
  const note = async (key: string) => {
    keys.push(key);
    if (keys.length >= pageSize) await flush();
  };
  await live();
  const timer = setInterval(() => {
    flush()
      .then(live)
      .catch(() => {}); // out of reach: the next beat, or what is under way, tries again
  }, beat);
  timer.unref();
  return {
    ...store,
    async create(key, content) {
      await note(key);
      return store.create(key, content);
    },
    async noteOutcome(outcome) {
      await note(resultKey(outcome.hash));
      if (!('result' in outcome)) return;
      for (const hash of Object.values(outcome.result.outputs)) await note(blobKey(hash));
    },
    async close() {
      clearInterval(timer);
      await flush();
      if (sign) await store.remove(sign);
    },
  };
}

/** What was removed. */
export interface Collected {
  readonly things: number;
  readonly bytes: number;
  readonly runs: readonly string[];
}

/**
 * Removes what no run needs: all runs whose last note is older than `age`, or the one that is named, and what nothing names that is
 * older than `age`. The store's clock counts, not this machine's.
 *
 * @param options.age milliseconds
 * @param options.now by the store's clock; asked of the store unless given
 * @throws when there is no run of that name, or a run is at work: it may be about to use what no run has named so far
 */
export async function collectGarbage(
  store: Store,
  options: { readonly age: number; readonly run?: string | undefined; readonly now?: number },
): Promise<Collected> {
  const { age, run, now = await clockOf(store) } = options;
  const runs = new Map<string, { last: number; pages: string[] }>();
  const atWork = new Set<string>();
  for await (const { key, modified } of store.list('runs/')) {
    const name = key.split('/')[1]!;
    const known = runs.get(name) ?? { last: 0, pages: [] };
    runs.set(name, { last: Math.max(known.last, modified), pages: [...known.pages, key] });
    if (isSign(key) && now - modified < silence) atWork.add(name);
  }
  if (atWork.size > 0)
    throw new Error(
      `store gc: expected no run at work, got ${[...atWork].join(', ')}; wait for its end, or ${silence / 60_000} minutes after it was killed`,
    );
  if (run !== undefined && !runs.has(run))
    throw new Error(`store gc: expected a run of ${[...runs.keys()].join(', ') || 'none'}, got '${run}'`);
  const goes = (name: string, last: number) => (run === undefined ? now - last > age : name === run);
  const [kept, dropped] = [new Set<string>(), new Set<string>()];
  const gone: string[] = [];
  for (const [name, { last, pages }] of runs) {
    const drop = goes(name, last);
    if (drop) gone.push(name);
    for (const page of pages) {
      for (const key of await pageOf(store, page)) (drop ? dropped : kept).add(key);
    }
  }
  const isOld = (modified: number) => now - modified > age;
  for await (const { key, modified } of store.list('checkpoints/')) {
    if (isOld(modified)) continue;
    kept.add(key);
    for (const hash of Object.values(await filesOfCheckpoint(store, key))) kept.add(blobKey(hash));
  }
  let [things, bytes] = [0, 0];
  for (const prefix of ['blobs/', 'results/', 'checkpoints/']) {
    for await (const thing of store.list(prefix)) {
      const { key, modified } = thing;
      if (kept.has(key) || !(run === undefined ? isOld(modified) : dropped.has(key))) continue;
      await store.remove(key);
      things++;
      bytes += thing.bytes;
    }
  }
  for (const name of gone) for (const page of runs.get(name)!.pages) await store.remove(page);
  return { things, bytes, runs: gone };
}

/** Now, by the store's clock: that of a thing just written, or of the newest where the store is full. */
async function clockOf(store: Store): Promise<number> {
  const key = `clock/${randomUUID()}`;
  const newest = async (prefix: string) => {
    let last = 0;
    for await (const { modified } of store.list(prefix)) last = Math.max(last, modified);
    return last;
  };
  try {
    await store.create(key, Buffer.from('now'));
    return await newest(key);
  } catch {
    return Math.max(...(await Promise.all(['runs/', 'blobs/', 'results/'].map(newest))));
  } finally {
    await store.remove(key);
  }
}

async function pageOf(store: Store, key: string): Promise<string[]> {
  const bytes = await store.read(key);
  return bytes ? pageSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8'))) : [];
}
