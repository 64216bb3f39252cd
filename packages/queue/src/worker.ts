import { totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Job as BullJob, UnrecoverableError, WaitingError, Worker } from 'bullmq';
import {
  getResult,
  type Job,
  JobFailure,
  type JobProcess,
  jobHash,
  jobTitle,
  openStore,
  parseJob,
  slimsamVersion,
  startJobProcess,
  type WorkOptions,
  workerName,
} from 'slimsam/jobs';
import { openBroker, redacted } from './broker.ts';

/** A job whose worker vanished goes to another one, as often as workers vanish; a job that ends its process fails. */
const mostVanished = 1000;
/** Milliseconds before a worker that handed a job back takes the next one, so that others can have it. */
const politeness = 1_000;
/** Milliseconds in which the job that is under way goes back, at the end, if the broker is in reach. */
const patience = 10_000;
/** Milliseconds between two lines about a broker that is out of reach. */
const quiet = 30_000;

/**
 * Works on the jobs of a queue until the signal aborts; then the job that is under way goes back to the queue. A job runs in a child
 * process, so that its lock is renewed however long it blocks; the child is replaced when it ends or its device is lost.
 *
 * @throws when broker or store are out of reach at the start, or no backend opens
 */
export async function work(options: WorkOptions): Promise<void> {
  if (
    typeof options?.backend !== 'string' ||
    typeof options.note !== 'function' ||
    !(options.signal instanceof AbortSignal)
  )
    throw new Error('work: expected options { queue, store, backend, lock, signal, note }, got others');
  const { queue: url, store: location, backend, adapter, lock, signal, note } = options;
  const broker = await openBroker(url);
  const store = await openStore(location);
  const start = () => startJobProcess({ store: location, backend, adapter });
  let child = await start();
  const name = workerName();
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB`;
  note(`worker ${name}: slimsam ${slimsamVersion} on ${child.adapter}, ${memory} of memory`);
  note(`  takes jobs of '${broker.queue}' at ${broker.address}, blobs of ${store.location}`);

  async function process(bull: BullJob, token = ''): Promise<void> {
    const job = checked(bull);
    const reason = obstacle(job, child);
    if (reason) return handBack(bull, { token, reason });
    await bull.updateProgress({ worker: name, adapter: child.adapter });
    if (await getResult(store, job)) return;
    const began = performance.now();
    try {
      if (!child.alive) child = await start();
      await child.run(job, { signal });
    } catch (error) {
      if (signal.aborted) return handBack(bull, { token, reason: 'stopped' });
      if (!(error instanceof JobFailure) || error.kind === 'job') throw error;
      note(`  ${error.message}; another process takes its place`);
      await child.close();
      child = await start();
      if (error.kind === 'lost') return handBack(bull, { token, reason: 'the device was lost' });
      throw error;
    }
    note(`  ${jobTitle(job)}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  }

  async function handBack(bull: BullJob, { token, reason }: { token: string; reason: string }): Promise<never> {
    note(`  ${bull.name} ${bull.id?.slice(0, 12)} goes back: ${reason}`);
    await bull.updateProgress({ worker: name, handedBack: reason });
    if (!signal.aborted) await sleep(politeness * (1 + Math.random()));
    await bull.moveToWait(token); // to the front, where it would keep others waiting that this worker could do
    if (!signal.aborted) await bull.changePriority({ priority: 1 }).catch(() => {}); // behind those; another one has it already
    throw new WaitingError(reason);
  }

  const worker = new Worker(
    broker.queue,
    process,
    {
      ...{ connection: broker.connection, name, concurrency: 1 },
      ...{ lockDuration: lock * 1000, stalledInterval: lock * 1000, maxStalledCount: mostVanished },
      runRetryDelay: 5_000,
    },
    broker.backend,
  );
  let told = Number.NEGATIVE_INFINITY;
  worker.on('error', (error: Error) => {
    if (performance.now() - told < quiet) return;
    told = performance.now();
    note(`  ${broker.address}: ${redacted(error.message)}; it is tried again`);
  });
  worker.on('failed', (bull, error) => {
    note(`  ${bull?.name} ${bull?.id?.slice(0, 12)} failed: ${error.message}`);
  });
  if (!signal.aborted)
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  note(`worker ${name}: ends`);
  await Promise.race([worker.close(), sleep(patience, undefined, { ref: false })]);
  await child.close();
}

/** The job that a queue's data is. What no job of ours could have made fails at once, without being looked into. */
function checked(bull: BullJob): Job {
  let job: Job;
  try {
    job = parseJob(bull.data);
  } catch (error) {
    throw new UnrecoverableError(error instanceof Error ? error.message : String(error));
  }
  if (jobHash(job) !== bull.id)
    throw new UnrecoverableError('job: expected its hash as its id, got another; it is refused');
  return job;
}

/** Why this worker leaves a job to others. */
function obstacle({ version, requires }: Job, { features, adapter }: JobProcess): string | undefined {
  if (version !== slimsamVersion) return `it is of slimsam ${version}, this worker is ${slimsamVersion}`;
  const missing = requires.filter((feature) => !features.includes(feature));
  return missing.length > 0 ? `it needs ${missing.join(', ')}, which ${adapter} has not` : undefined;
}
