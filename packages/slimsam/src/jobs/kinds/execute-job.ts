import { type Job, jobHash } from '../job.ts';
import { putResult } from '../store/blobs.ts';
import type { JobContext, JobYield } from './workplace.ts';

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
    case 'ablate':
      return (await import('./ablate-job.ts')).ablateJob(job, context);
    case 'sleep':
      return (await import('./sleep-job.ts')).sleepJob(job, context);
  }
}
