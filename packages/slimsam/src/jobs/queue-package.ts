import type { JobRunner } from './run-jobs.ts';
import type { Store } from './store/store.ts';

/** How many jobs of a queue are where. */
export interface QueueCounts {
  readonly waiting: number;
  readonly active: number;
  readonly failed: number;
}

/** A job that failed for good. */
export interface FailedJob {
  readonly hash: string;
  readonly kind: string;
  readonly error: string;
  readonly attempts: number;
  /** What it was to do, in one line. */
  readonly input: string;
}

/** An open queue. */
export interface JobQueue {
  /** Sends jobs to the workers. */
  readonly runner: JobRunner;
  counts(): Promise<QueueCounts>;
  /** Names of the workers that are connected. */
  workers(): Promise<readonly string[]>;
  failed(): Promise<readonly FailedJob[]>;
  /** Lets the failed jobs begin anew. @returns how many */
  retry(): Promise<number>;
  /** Takes away all jobs that no worker has begun, and the failed ones. @returns how many */
  drain(): Promise<number>;
  close(): Promise<void>;
}

/** How to work. */
export interface WorkOptions {
  readonly queue: string;
  readonly store: string;
  /** A TensorFlow.js backend. */
  readonly backend: string;
  /** A part of the name of the WebGPU adapter. */
  readonly adapter?: string | undefined;
  /** Seconds without a sign of life after which a worker's job is another one's. */
  readonly lock: number;
  readonly signal: AbortSignal;
  readonly note: (line: string) => void;
}

/** What `@slimsam/queue` gives. */
export interface QueuePackage {
  openQueue(url: string): Promise<JobQueue>;
  openS3Store(location: string): Promise<Store>;
  work(options: WorkOptions): Promise<void>;
}

const packageName = '@slimsam/queue';

/** The package that knows queues and S3, which those who have one machine need not install. @throws when it is missing, with the cure */
export async function importQueue(option: string): Promise<QueuePackage> {
  try {
    return (await import(packageName)) as QueuePackage;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error(
      `${option}: expected the package ${packageName}, got none; install it with 'npm install ${packageName}'`,
      { cause: error },
    );
  }
}
