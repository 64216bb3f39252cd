import { type ChildProcess, fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import { pathToFileURL } from 'node:url';
import { checkFields } from '@slimsam/weights';
import type { Job } from '../job.ts';
import type { AdapterOf, FailureKind, FromProcess, ProcessOptions, ToProcess } from './messages.ts';

/** A child process that runs one job after another: it may block its thread, or be killed, without its parent. */
export interface JobProcess extends AdapterOf {
  /**
   * Runs a job; its result is in the store when this resolves.
   * @throws JobFailure when it failed, the signal's abort gave it up, or the process ended
   */
  run(job: Job, options: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** Whether it can still run jobs. */
  readonly alive: boolean;
  close(): Promise<void>;
}

/** Why a job has no result. */
export class JobFailure extends Error {
  readonly kind: FailureKind | 'ended';
  constructor(kind: FailureKind | 'ended', message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Who works: this host and process. */
export const workerName = (): string => `${hostname().replace(/[^\w.-]/g, '_')}:${process.pid}`;

/** Milliseconds in which a job that is told to stop may do so, before its process is ended. */
const patience = 5_000;

/**
 * Starts a child process and opens a backend and a store in it.
 *
 * @throws when one of the two does not open
 */
export async function startJobProcess(options: ProcessOptions): Promise<JobProcess> {
  checkFields('startJobProcess', options, { store: 'string', backend: 'string' });
  const child = forkNeighbour();
  let errors = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    errors = `${errors}${bytes.toString('utf8')}`.slice(-2000);
  });
  const ended = new Promise<JobFailure>((resolve) => {
    child.once('error', (error) => resolve(new JobFailure('ended', error.message)));
    child.once('exit', (code, signal) => {
      const last = errors.trim().split('\n').at(-1);
      const how = signal ? `by ${signal}` : `with exit code ${code}`;
      resolve(new JobFailure('ended', `the job's process ended ${how}${last ? `: ${last}` : ''}`));
    });
  });

  const send = (message: ToProcess) => {
    if (child.connected) child.send(message, () => {}); // that it went away is told by 'exit'
  };
  function answer(): Promise<FromProcess> {
    return new Promise((resolve, reject) => {
      child.once('message', (message) => resolve(message as FromProcess));
      void ended.then(reject);
    });
  }
  const opened = answer();
  send({ type: 'open', ...options, worker: workerName() });
  const first = await opened;
  if (first.type !== 'opened') {
    child.kill('SIGKILL');
    throw new Error(first.type === 'failed' ? first.message : 'job process: expected it to open, got another answer');
  }

  return {
    adapter: first.adapter,
    features: first.features,
    get alive() {
      return child.connected;
    },
    async run(job, { signal }) {
      signal?.throwIfAborted();
      let timer: NodeJS.Timeout | undefined;
      const stop = () => {
        send({ type: 'stop' });
        timer = setTimeout(() => child.kill('SIGKILL'), patience);
      };
      signal?.addEventListener('abort', stop, { once: true });
      try {
        const answered = answer();
        send({ type: 'run', job });
        const message = await answered;
        if (message.type === 'failed') throw new JobFailure(message.kind, message.message);
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener('abort', stop);
      }
    },
    async close() {
      if (child.connected) child.disconnect(); // it removes its folder and ends
      const timer = setTimeout(() => child.kill('SIGKILL'), 2_000); // unless it blocks: what it writes is whole or not there
      await ended;
      clearTimeout(timer);
    },
  };
}

/** The neighbour `main`, as TypeScript in the repository and as JavaScript in the package. */
function forkNeighbour(): ChildProcess {
  const extension = /\.\w+$/.exec(new URL(import.meta.url).pathname)![0];
  const execArgv = extension === '.ts' ? ['--conditions=@slimsam/source', '--import', loader()] : [];
  return fork(new URL(`main${extension}`, import.meta.url), { execArgv, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
}

const loader = (): string => pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
