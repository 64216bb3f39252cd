import { setMaxListeners } from 'node:events';
import { checkFields } from '@slimsam/weights';
import { type Job, type JobResult, jobHash, jobTitle, parseJob } from './job.ts';
import { getResult } from './store/blobs.ts';
import type { Store } from './store/store.ts';

/** What runs jobs: child processes of this machine, or a queue's workers. */
export interface JobRunner {
  /** Jobs that are given to it at once. */
  readonly window: number;
  /** Resolves when the job's result is in the store. @throws when the job failed for good, or the signal aborts */
  run(job: Job, options: { readonly store: Store; readonly signal: AbortSignal | undefined }): Promise<void>;
  /** Where its jobs are, for people: a line for each worker. */
  status?(): Promise<readonly string[]>;
}

/** What came of one job: its result, or why there is none. */
export type JobOutcome =
  | {
      readonly job: Job;
      readonly hash: string;
      readonly result: JobResult /** It was there before. */;
      readonly known: boolean;
    }
  | { readonly job: Job; readonly hash: string; readonly error: Error };

/** How jobs are run. */
export interface RunJobsOptions {
  readonly runner: JobRunner;
  readonly store: Store;
  readonly signal?: AbortSignal;
}

/**
 * Runs jobs and gives what came of each, in the order in which they end. Jobs whose results are in the store are not computed again. They
 * are drawn from the iterable as there is room for them: a million jobs are not in memory at once. A job that fails is an outcome; the
 * others go on.
 *
 * @throws when what is given is no job, the store is out of reach, or the signal aborts (its reason)
 */
export async function* runJobs(
  jobs: Iterable<Job> | AsyncIterable<Job>,
  options: RunJobsOptions,
): AsyncGenerator<JobOutcome, void, undefined> {
  checkFields('runJobs', { jobs }, { jobs: 'iterable' });
  checkFields('runJobs', options, { runner: 'object', store: 'object' });
  const { runner, store, signal } = options;
  const stop = new AbortController();
  const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  setMaxListeners(0, both); // one for each job that is under way
  const running = new Map<string, Promise<void>>();
  const ended: (JobOutcome | { readonly fatal: unknown })[] = [];
  let wake = () => {};
  const source = Symbol.asyncIterator in jobs ? jobs[Symbol.asyncIterator]() : jobs[Symbol.iterator]();

  async function outcomeOf(job: Job, hash: string): Promise<JobOutcome> {
    const known = await getResult(store, job);
    if (known) return { job, hash, result: known, known: true };
    try {
      await runner.run(job, { store, signal: both });
    } catch (error) {
      both.throwIfAborted();
      return { job, hash, error: error instanceof Error ? error : new Error(String(error)) };
    }
    const result = await getResult(store, job);
    if (result) return { job, hash, result, known: false };
    return { job, hash, error: new Error(`job ${hash}: expected its result in '${store.location}', got none`) };
  }

  let drained = false;
  try {
    for (;;) {
      signal?.throwIfAborted();
      while (!drained && running.size < runner.window) {
        const next = await source.next();
        if (next.done) drained = true;
        else {
          const job = parseJob(next.value);
          const hash = jobHash(job);
          if (running.has(hash)) continue; // the same job twice is one
          const end = (outcome: JobOutcome | { readonly fatal: unknown }) => {
            running.delete(hash);
            ended.push(outcome);
            wake();
          };
          running.set(
            hash,
            outcomeOf(job, hash).then(end, (fatal: unknown) => end({ fatal })),
          );
        }
      }
      if (ended.length === 0) {
        if (running.size === 0) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      for (const outcome of ended.splice(0)) {
        if ('fatal' in outcome) throw outcome.fatal;
        yield outcome;
      }
    }
  } finally {
    stop.abort(new Error('runJobs: its reader went away'));
    await Promise.allSettled(running.values());
    await source.return?.(undefined);
  }
}

/** The result of each job, in the order of the jobs. @throws the error of the first job that failed, when all have ended */
export async function resultsInOrder(
  jobs: readonly Job[],
  options: RunJobsOptions & { readonly onOutcome?: (outcome: JobOutcome) => void | Promise<void> },
): Promise<JobResult[]> {
  checkFields('resultsInOrder', { jobs, options }, { jobs: 'list', options: 'object' });
  const found = new Map<string, JobResult>();
  const errors: JobOutcome[] = [];
  for await (const outcome of runJobs(jobs, options)) {
    await options.onOutcome?.(outcome);
    if ('result' in outcome) found.set(outcome.hash, outcome.result);
    else errors.push(outcome);
  }
  const [first] = errors;
  if (first && 'error' in first) {
    throw new Error(`${errors.length} of ${jobs.length} jobs failed; ${jobTitle(first.job)}: ${first.error.message}`, {
      cause: first.error,
    });
  }
  return jobs.map((job) => found.get(jobHash(job))!);
}
