import type { Job } from '../job.ts';

/** What computes in a job process. */
export interface AdapterOf {
  readonly adapter: string;
  /** Features of WebGPU that it has. */
  readonly features: readonly string[];
}

/** What a job process opens. */
export interface ProcessOptions {
  readonly store: string;
  /** Of TensorFlow.js. */
  readonly backend: string;
  /** A part of the WebGPU adapter's name. */
  readonly adapter?: string | undefined;
}

/** From a parent to its job process. */
export type ToProcess =
  | ({ readonly type: 'open'; readonly worker: string } & ProcessOptions)
  | { readonly type: 'run'; readonly job: Job }
  /** Gives up the job that runs. */
  | { readonly type: 'stop' };

/** From a job process to its parent. */
export type FromProcess =
  | ({ readonly type: 'opened' } & AdapterOf)
  | { readonly type: 'done' }
  /** `lost`: the device is, and the job is not to blame. `stopped`: as it was told. */
  | { readonly type: 'failed'; readonly kind: FailureKind; readonly message: string };

export type FailureKind = 'job' | 'lost' | 'stopped';
