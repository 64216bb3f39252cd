import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { checkFields } from '@slimsam/weights';
import { z } from 'zod';
import { type Job, type JobResult, jobHash, resultSchema, sha256 } from '../job.ts';
import type { Store } from './store.ts';

/** Where a blob lies, by its SHA-256. */
export const blobKey = (hash: string): string => `blobs/${hash.slice(0, 2)}/${hash}`;

/** Where a job's result lies. */
export const resultKey = (job: string): string => `results/${job.slice(0, 2)}/${job}`;

/** Keeps bytes under their hash, once. @returns the hash */
export async function putBlob(store: Store, content: Uint8Array | string): Promise<string> {
  checkFields('putBlob', store, { create: 'function' });
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  checkFields('putBlob', { content: bytes }, { content: 'bytes' });
  const hash = sha256(bytes);
  await store.create(blobKey(hash), bytes);
  return hash;
}

/** Keeps a file under its hash, once. @returns the hash */
export async function putFile(store: Store, file: string): Promise<string> {
  checkFields('putFile', store, { create: 'function' });
  checkFields('putFile', { file }, { file: 'string' });
  const hash = await hashOfFile(file);
  await store.create(blobKey(hash), { file });
  return hash;
}

async function hashOfFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(file)) hash.update(part as Buffer);
  return hash.digest('hex');
}

/** A blob. @throws when it is not there, or is not what its hash says */
export async function getBlob(store: Store, hash: string): Promise<Uint8Array> {
  checkFields('getBlob', store, { read: 'function' });
  checkFields('getBlob', { hash }, { hash: 'string' });
  const bytes = await store.read(blobKey(hash));
  if (!bytes) throw missing(store, hash);
  checkHash(store, hash, sha256(bytes));
  return bytes;
}

/** A blob as a file, which is whole or not there. @throws when it is not there, or is not what its hash says */
export async function getFile(store: Store, hash: string, file: string): Promise<void> {
  checkFields('getFile', store, { readFile: 'function' });
  checkFields('getFile', { hash, file }, { hash: 'string', file: 'string' });
  const written = `${file}.${process.pid}.tmp`;
  try {
    if (!(await store.readFile(blobKey(hash), written))) throw missing(store, hash);
    checkHash(store, hash, await hashOfFile(written));
    await rename(written, file);
  } finally {
    await rm(written, { force: true });
  }
}

function missing(store: Store, hash: string): Error {
  return new Error(`store: expected a blob ${hash} in '${store.location}', got none; run the same command again`);
}

function checkHash(store: Store, expected: string, got: string): void {
  if (got === expected) return;
  throw new Error(
    `store: expected the blob ${expected} in '${store.location}' to be what its hash says, got bytes of ${got}; remove it and run the same command again`,
  );
}

/** A blob of JSON by its schema. @throws when it is none */
export async function getJson<T>(
  store: Store,
  hash: string,
  { schema, what }: { readonly schema: z.ZodType<T>; readonly what: string },
): Promise<T> {
  const text = Buffer.from(await getBlob(store, hash)).toString('utf8');
  const { success, data, error } = schema.safeParse(JSON.parse(text));
  if (success) return data;
  const problem = z.prettifyError({ issues: error.issues.slice(0, 3) }).replace(/\s+/g, ' ');
  throw new Error(`store: expected ${what} in the blob ${hash}, got ${problem}`);
}

/** Keeps what came of a job, unless that is there already: the first one counts. */
export async function putResult(store: Store, result: JobResult): Promise<void> {
  const body = JSON.stringify(result);
  await store.create(resultKey(result.job), Buffer.from(`${sha256(body)}\n${body}`));
}

/** What came of a job; undefined while nothing has. @throws when it is damaged, or of another job */
export async function getResult(store: Store, job: Job): Promise<JobResult | undefined> {
  checkFields('getResult', store, { read: 'function' });
  const hash = jobHash(job);
  const bytes = await store.read(resultKey(hash));
  if (!bytes) return undefined;
  const text = Buffer.from(bytes).toString('utf8');
  const [digest, body = ''] = [text.slice(0, 64), text.slice(65)];
  const found = sha256(body) === digest ? resultSchema.safeParse(JSON.parse(body)) : undefined;
  if (found?.success && found.data.job === hash) return found.data;
  throw new Error(
    `store: expected the result of the job ${hash} in '${store.location}', got one that is damaged; remove '${resultKey(hash)}' and run the same command again`,
  );
}
