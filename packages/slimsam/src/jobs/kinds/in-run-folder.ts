import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import type { CompressEvent } from '../../compress/events.ts';
import { openRun, type RunFolder } from '../../run/open-run.ts';
import { type Job, jobHash } from '../job.ts';
import { loadCheckpoint, removeCheckpoints, saveCheckpoint } from '../store/checkpoints.ts';
import type { JobContext } from './workplace.ts';

/** A run folder of a job. */
interface JobRun {
  readonly run: RunFolder;
  /** Keeps the run in the store whenever it has written all that is needed to go on. */
  readonly onEvent: (event: CompressEvent) => Promise<void>;
}

/**
 * Gives a job a run folder of its own. Its checkpoints go to the store, so that another machine goes on where this one vanished; bit for
 * bit as if nothing had happened.
 */
export async function inRunFolder<T>(job: Job, context: JobContext, use: (run: JobRun) => Promise<T>): Promise<T> {
  const { store } = context;
  const hash = jobHash(job);
  const folder = await mkdtemp(path.join(context.folder, 'run-'));
  try {
    let number = await loadCheckpoint(store, { job: hash, folder });
    const run = await openRun(folder);
    try {
      const found = await use({
        run,
        async onEvent({ type }) {
          if (type === 'checkpoint') number = await saveCheckpoint(store, { job: hash, folder, after: number });
        },
      });
      await removeCheckpoints(store, hash);
      return found;
    } finally {
      await run.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
