import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, QueueEvents } from 'bullmq';
import { type FailedJob, type Job, type JobQueue, jobHash, jobTitle, parseJob } from 'slimsam/jobs';
import { type Broker, type JobsEvents, type JobsQueue, openBroker } from './broker.ts';
import { queueRunner } from './queue-runner.ts';

/** Failed jobs that are listed at most. */
const mostListed = 1000;
/** Milliseconds that closing waits for a broker that may be out of reach. */
const patience = 2_000;

/**
 * Opens a queue: a plain one of BullMQ, which its dashboards show.
 *
 * @throws when the broker is out of reach, refuses the password, or is too old
 */
export async function openQueue(url: string): Promise<JobQueue> {
  const broker = await openBroker(url);
  const { queue, events } = connect(broker);
  const runner = queueRunner({ queue, events });
  return {
    runner,
    async counts() {
      const found = await queue.getJobCounts('waiting', 'prioritized', 'active', 'failed');
      const { waiting = 0, prioritized = 0, active = 0, failed = 0 } = found;
      return { waiting: waiting + prioritized, active, failed };
    },
    workers: () => workersOf(queue),
    async failed() {
      const jobs = await queue.getFailed(0, mostListed - 1);
      return jobs.map(({ id = '', data, failedReason, attemptsMade }): FailedJob => {
        const { kind, input } = describe(data);
        return { hash: id, kind, error: failedReason ?? '', attempts: attemptsMade, input };
      });
    },
    async retry() {
      const { failed = 0 } = await queue.getJobCounts('failed');
      await queue.retryJobs({ state: 'failed' });
      return failed;
    },
    async drain() {
      const { waiting = 0, prioritized = 0, failed = 0 } = await queue.getJobCounts('waiting', 'prioritized', 'failed');
      await queue.drain();
      await queue.clean(0, 0, 'failed');
      return waiting + prioritized + failed;
    },
    async close() {
      runner.stop();
      const closed = Promise.allSettled([events.close(), queue.close()]);
      await Promise.race([closed, sleep(patience, undefined, { ref: false })]);
    },
  };
}

function connect({ queue: name, connection, backend }: Broker): { queue: JobsQueue; events: JobsEvents } {
  const queue: JobsQueue = new Queue(name, { connection }, backend);
  const events: JobsEvents = new QueueEvents(name, { connection }, backend);
  queue.on('error', () => {}); // out of reach for a moment: the runner looks again
  events.on('error', () => {});
  return { queue, events };
}

/** The names that workers gave themselves. */
async function workersOf(queue: JobsQueue): Promise<string[]> {
  const clients = await queue.getWorkers();
  return [...new Set(clients.map(({ rawname = '', name = '' }) => (rawname || name).replace(/^.*:w:/, '')))].sort();
}

/** A job in one line; data that no job of ours could have made too. */
function describe(data: unknown): { kind: string; input: string } {
  try {
    const job: Job = parseJob(data);
    return { kind: job.kind, input: `${jobTitle(job)}, ${jobHash(job).slice(0, 12)}` };
  } catch {
    return { kind: 'unknown', input: JSON.stringify(data)?.slice(0, 120) ?? 'nothing' };
  }
}
