import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { hashSchema } from '../job.ts';
import { blobKey, getFile, putFile } from './blobs.ts';
import type { Store } from './store.ts';

/** Files of a run folder that a run goes on with. */
const kept = /^(run\.json|metrics\.jsonl|(best|step-\d+|training-\d+)\.(safetensors|plan\.json))$/;

const checkpointSchema = z.strictObject({ files: z.record(z.string().regex(kept), hashSchema) });

const prefixOf = (job: string): string => `checkpoints/${job}/`;
const keyOf = (job: string, number: number): string => `${prefixOf(job)}${String(number).padStart(9, '0')}`;

async function numbersOf(store: Store, job: string): Promise<number[]> {
  const found: number[] = [];
  for await (const { key } of store.list(prefixOf(job))) found.push(Number(key.slice(prefixOf(job).length)));
  return found.sort((a, b) => a - b);
}

/** The files of a checkpoint by name; none where it is gone. */
export async function filesOfCheckpoint(store: Store, key: string): Promise<Record<string, string>> {
  const bytes = await store.read(key);
  return bytes ? checkpointSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8'))).files : {};
}

/** Brings the files of a job's last checkpoint into a folder. @returns its number, 0 where there is none */
export async function loadCheckpoint(
  store: Store,
  { job, folder }: { readonly job: string; readonly folder: string },
): Promise<number> {
  const last = (await numbersOf(store, job)).at(-1) ?? 0;
  const files = last > 0 ? await filesOfCheckpoint(store, keyOf(job, last)) : {};
  for (const [name, hash] of Object.entries(files)) await getFile(store, hash, path.join(folder, name));
  return last;
}

/**
 * Keeps the files of a run folder as the checkpoint after another one, and removes those before that: two workers that have the same
 * job, since one of them was taken for dead, do not disturb each other.
 *
 * @returns its number
 */
export async function saveCheckpoint(
  store: Store,
  { job, folder, after }: { readonly job: string; readonly folder: string; readonly after: number },
): Promise<number> {
  const files: Record<string, string> = {};
  for (const name of await readdir(folder)) {
    if (kept.test(name)) files[name] = await putFile(store, path.join(folder, name));
  }
  const content = Buffer.from(JSON.stringify({ files }));
  let number = after + 1;
  while (!(await store.create(keyOf(job, number), content))) number++;
  const before = (await numbersOf(store, job)).filter((other) => other < number - 1);
  const needed = new Set(
    [files, await filesOfCheckpoint(store, keyOf(job, number - 1))].flatMap((one) => Object.values(one)),
  );
  for (const other of before) await remove(store, keyOf(job, other), needed);
  return number;
}

/** Removes the checkpoints of a job that is done. */
export async function removeCheckpoints(store: Store, job: string): Promise<void> {
  for (const number of await numbersOf(store, job)) await remove(store, keyOf(job, number), new Set());
}

/** The files of a run's training are its own: nothing else has them. */
async function remove(store: Store, key: string, needed: ReadonlySet<string>): Promise<void> {
  const files = await filesOfCheckpoint(store, key);
  await store.remove(key);
  for (const [name, hash] of Object.entries(files)) {
    if (name.startsWith('training-') && !needed.has(hash)) await store.remove(blobKey(hash));
  }
}
