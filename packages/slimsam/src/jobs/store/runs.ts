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
  /** Writes what is noted. */
  flush(): Promise<void>;
}

const pageSize = 1000;
const pageSchema = z.array(z.string());

/** Notes under the name of a run all that is put into a store. @param run letters, digits and hyphens */
export function recordedStore(store: Store, run: string): RecordedStore {
  let keys: string[] = [];
  const flush = async () => {
    const page = JSON.stringify([...new Set(keys)].sort());
    keys = [];
    if (page !== '[]') await store.create(`runs/${run}/${sha256(page)}`, Buffer.from(page));
  };
  const note = async (key: string) => {
    keys.push(key);
    if (keys.length >= pageSize) await flush();
  };
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
    flush,
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
 * older than `age`. The store's clock counts.
 *
 * @param options.age milliseconds
 * @throws when there is no run of that name
 */
export async function collectGarbage(
  store: Store,
  { age, run, now = Date.now() }: { readonly age: number; readonly run?: string | undefined; readonly now?: number },
): Promise<Collected> {
  const runs = new Map<string, { last: number; pages: string[] }>();
  for await (const { key, modified } of store.list('runs/')) {
    const name = key.split('/')[1]!;
    const known = runs.get(name) ?? { last: 0, pages: [] };
    runs.set(name, { last: Math.max(known.last, modified), pages: [...known.pages, key] });
  }
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

async function pageOf(store: Store, key: string): Promise<string[]> {
  const bytes = await store.read(key);
  return bytes ? pageSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8'))) : [];
}
