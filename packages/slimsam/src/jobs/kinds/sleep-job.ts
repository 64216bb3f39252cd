import { setTimeout as sleep } from 'node:timers/promises';
import type { JobOf } from '../job.ts';
import type { JobContext, JobYield } from './workplace.ts';

/** Does nothing for a while. */
export async function sleepJob({ milliseconds }: JobOf<'sleep'>, { signal }: JobContext): Promise<JobYield> {
  await sleep(milliseconds, undefined, { signal });
  return { value: {}, outputs: {} };
}
