import type { Model } from '../../models/network.ts';
import { type Job, type JobResult, jobHash } from '../job.ts';
import { getFile, putResult } from '../store/blobs.ts';
import type { Store } from '../store/store.ts';

/** Where jobs are done. */
export interface Workplace {
  readonly store: Store;
  /** For files of this process alone. */
  readonly folder: string;
  readonly adapter: string;
  readonly worker: string;
  readonly version: string;
  /** The model of the last job: the next one mostly has the same. */
  readonly models: Map<string, Model>;
}

/** A workplace and the job's signal. */
export interface JobContext extends Workplace {
  readonly signal: AbortSignal;
}

/** What a kind of job gives. */
export type JobYield = Pick<JobResult, 'value' | 'outputs'>;

/** Runs a job and keeps its result in the store. @throws when an input is missing or wrong, or the signal aborts */
export async function executeJob(job: Job, context: JobContext): Promise<void> {
  const began = performance.now();
  const { value, outputs } = await yieldOf(job, context);
  const { store, version, adapter, worker } = context;
  const seconds = Number(((performance.now() - began) / 1000).toFixed(3));
  await putResult(store, { format: 1, job: jobHash(job), version, adapter, worker, seconds, value, outputs });
}

/** Each kind loads what it needs, and no more. */
async function yieldOf(job: Job, context: JobContext): Promise<JobYield> {
  switch (job.kind) {
    case 'evaluate':
      return (await import('./evaluate-job.ts')).evaluateJob(job, context);
    case 'score':
      return (await import('./score-job.ts')).scoreJob(job, context);
    case 'embed':
      return (await import('./embed-job.ts')).embedJob(job, context);
    case 'compress':
      return (await import('./compress-job.ts')).compressJob(job, context);
    case 'sleep':
      return (await import('./sleep-job.ts')).sleepJob(job, context);
  }
}

/** A model of the store. It stays the workplace's, which keeps one. @throws when the blob is missing or no model */
export async function modelOf(
  { model: hash, decoderHeads }: { readonly model: string; readonly decoderHeads?: number | undefined },
  { store, folder, models }: Workplace,
): Promise<Model> {
  const key = `${hash} ${decoderHeads}`;
  const known = models.get(key);
  if (known) return known;
  const file = `${folder}/${hash}.safetensors`;
  await getFile(store, hash, file);
  const { loadModel } = await import('../../cli/load-model.ts');
  const model = await loadModel(file, decoderHeads === undefined ? {} : { decoderHeads });
  for (const { weights } of models.values()) for (const weight of Object.values(weights)) weight.dispose();
  models.clear();
  models.set(key, model);
  return model;
}
