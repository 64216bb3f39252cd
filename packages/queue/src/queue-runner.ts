import type { JobProgress } from 'bullmq';
import { getResult, type Job, type JobRunner, jobHash, jobTitle, type Store } from 'slimsam/jobs';
import type { JobsEvents, JobsQueue } from './broker.ts';

/** Jobs in the queue at once: further ones are added as these end. */
const window = 1000;
/** Milliseconds between two looks at jobs of which nothing was heard. */
const period = 5_000;
/** Jobs that are looked at at once: a broker may be far away. */
const looks = 50;
/** A job that failed so often is a failed one. */
const attempts = 3;

interface Waiting {
  readonly job: Job;
  readonly store: Store;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** What a worker tells of the job that it has. */
interface Told {
  readonly worker?: string;
  readonly adapter?: string;
  readonly handedBack?: string;
}

/**
 * Sends jobs to a queue and waits for their results in the store. Events of the queue tell when a job has ended; that they may be lost,
 * with the broker's whole memory, is made up for by looking: a job that is neither in the queue nor in the store is added again.
 */
export function queueRunner({
  queue,
  events,
}: {
  readonly queue: JobsQueue;
  readonly events: JobsEvents;
}): JobRunner & { stop(): void } {
  const waiting = new Map<string, Waiting>();
  let adding: Job[] = [];
  let soon: NodeJS.Timeout | undefined;
  const done = new Map<string, number>(); // by worker
  const active = new Map<string, { told: Told; since: number }>(); // by job
  const handedBack = new Map<string, string>(); // by worker: its last reason
  let failedBefore: Promise<Set<string>> | undefined;

  function end(hash: string, error?: Error): void {
    const found = waiting.get(hash);
    waiting.delete(hash);
    active.delete(hash);
    if (error) found?.reject(error);
    else found?.resolve();
  }

  /** Adds jobs in one go. Ids are hashes: what is in the queue already is not added. */
  async function addAll(): Promise<void> {
    soon = undefined;
    const jobs = adding;
    adding = [];
    try {
      failedBefore ??= failedIn(queue);
      const failed = await failedBefore;
      for (const job of jobs) {
        const hash = jobHash(job);
        if (failed.delete(hash)) await queue.remove(hash); // of an earlier command: it begins anew
      }
      await queue.addBulk(
        jobs.map((data) => ({
          name: data.kind,
          data,
          opts: { jobId: jobHash(data), attempts, removeOnComplete: { count: 100 }, removeOnFail: { count: 10_000 } },
        })),
      );
    } catch {
      failedBefore = undefined; // out of reach: `look` adds them again
    }
  }

  function add(job: Job): void {
    adding.push(job);
    soon ??= setTimeout(() => void addAll(), 5);
  }

  /** Looks at a job of which nothing was heard: the store is asked only where the queue has nothing more to do for it. */
  async function look(hash: string): Promise<void> {
    const found = waiting.get(hash);
    if (!found) return;
    const state = await queue.getJobState(hash);
    if (state !== 'failed' && state !== 'completed' && state !== 'unknown') return;
    if (await getResult(found.store, found.job)) return end(hash);
    if (state === 'failed') {
      const job = await queue.getJob(hash);
      end(hash, new Error(`${job?.failedReason ?? 'an unknown error'} (${job?.attemptsMade ?? attempts} tries)`));
    } else if (state === 'completed') {
      await queue.remove(hash); // but its result is gone
      add(found.job);
    } else add(found.job);
  }

  let looking = false;
  const timer = setInterval(async () => {
    if (looking) return;
    looking = true;
    try {
      const hashes = [...waiting.keys()];
      while (hashes.length > 0) await Promise.all(hashes.splice(0, looks).map(look));
    } catch {
      // the broker or the store is out of reach; the next look may reach it
    } finally {
      looking = false;
    }
  }, period);

  const heard = ({ jobId }: { jobId: string }) => {
    if (waiting.has(jobId)) look(jobId).catch(() => {});
  };
  events.on('completed', ({ jobId }) => {
    const name = active.get(jobId)?.told.worker;
    if (name) done.set(name, (done.get(name) ?? 0) + 1);
    end(jobId);
  });
  events.on('failed', heard);
  events.on('progress', ({ jobId, data }) => {
    if (!waiting.has(jobId)) return;
    const told = toldBy(data);
    if (told.handedBack) {
      active.delete(jobId);
      handedBack.set(told.worker ?? '', told.handedBack);
    } else active.set(jobId, { told, since: performance.now() });
  });

  return {
    window,
    run(job, { store, signal }) {
      return new Promise<void>((resolve, reject) => {
        const hash = jobHash(job);
        const onAbort = () => end(hash, signal!.reason as Error);
        const stop = () => signal?.removeEventListener('abort', onAbort);
        waiting.set(hash, {
          ...{ job, store },
          resolve: () => {
            stop();
            resolve();
          },
          reject: (error) => {
            stop();
            reject(error);
          },
        });
        signal?.addEventListener('abort', onAbort);
        add(job);
      });
    },
    async status() {
      const counts = await queue.getJobCounts('waiting', 'prioritized', 'active');
      const { waiting: queued = 0, prioritized = 0, active: begun = 0 } = counts;
      const lines = [`${queued + prioritized} jobs wait, ${begun} are under way`];
      const names = new Set([...done.keys(), ...[...active.values()].flatMap(({ told }) => told.worker ?? [])]);
      for (const name of [...names].sort()) {
        const own = [...active].find(([, { told }]) => told.worker === name);
        const job = own && waiting.get(own[0])?.job;
        const doing = job
          ? `${jobTitle(job)} for ${Math.round((performance.now() - own[1].since) / 1000)} s on ${own[1].told.adapter}`
          : 'waits';
        lines.push(`${name}: ${done.get(name) ?? 0} done, ${doing}`);
      }
      for (const [name, reason] of handedBack) lines.push(`${name} handed jobs back: ${reason}`);
      return lines;
    },
    stop: () => {
      clearInterval(timer);
      clearTimeout(soon);
    },
  };
}

function toldBy(data: JobProgress): Told {
  if (typeof data !== 'object' || data === null) return {};
  const fields = Object.entries(data).filter(([, value]) => typeof value === 'string');
  return Object.fromEntries(fields) as Told;
}

async function failedIn(queue: JobsQueue): Promise<Set<string>> {
  const failed = await queue.getFailed(0, -1);
  return new Set(failed.flatMap(({ id }) => id ?? []));
}
