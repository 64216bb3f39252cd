import { checkFields } from '@slimsam/weights';
import { JobFailure, type JobProcess, startJobProcess } from './process/job-process.ts';
import type { JobRunner } from './run-jobs.ts';

/** A runner of this machine, to be closed. */
export interface LocalRunner extends JobRunner {
  close(): Promise<void>;
}

/** A job's process may end, or lose its device, so often before the job is taken for the cause. */
const mostTries = 3;

/** Runs jobs in child processes of this machine; nothing is to be installed for it. */
export function localRunner(options: {
  /** Where the children find their inputs: the location of the store that `runJobs` is given. */
  readonly store: string;
  /** Of TensorFlow.js, as `--backend` names it. */
  readonly backend: string;
  /** At once; 1 unless given. */
  readonly processes?: number;
}): LocalRunner {
  checkFields('localRunner', options, { store: 'string', backend: 'string' });
  const { store, backend, processes = 1 } = options;
  if (!Number.isInteger(processes) || processes < 1)
    throw new Error(`localRunner: expected processes as 1, 2, …, got ${processes}`);
  const idle: JobProcess[] = [];
  const all = new Set<JobProcess>();

  async function start(): Promise<JobProcess> {
    const started = await startJobProcess({ store, backend });
    all.add(started);
    return started;
  }

  return {
    window: processes,
    async run(job, { signal }) {
      for (let tries = 1; ; tries++) {
        const worker = idle.pop() ?? (await start());
        try {
          await worker.run(job, { signal });
          return;
        } catch (error) {
          signal?.throwIfAborted();
          if (!(error instanceof JobFailure) || error.kind === 'job') throw error;
          await worker.close(); // its device is lost, or the process itself is gone
          if (tries === mostTries) throw error;
        } finally {
          if (worker.alive) idle.push(worker);
          else all.delete(worker);
        }
      }
    },
    async close() {
      await Promise.all([...all].map((worker) => worker.close()));
    },
  };
}
