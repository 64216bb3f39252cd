import { createHash } from 'node:crypto';
import type { Command } from 'commander';
import { Option } from 'commander';
import { type Job, type JobResult, jobHash, jobTitle } from '../jobs/job.ts';
import { localRunner } from '../jobs/local-runner.ts';
import { importQueue } from '../jobs/queue-package.ts';
import { type JobRunner, runJobs } from '../jobs/run-jobs.ts';
import { openStore } from '../jobs/store/open-store.ts';
import { type RecordedStore, recordedStore } from '../jobs/store/runs.ts';
import { positiveInteger } from './options.ts';
import type { Output } from './output.ts';

/** What commands take that work on many machines. */
export interface ManyMachinesOptions {
  readonly queue?: string;
  readonly store?: string;
  readonly processes: number;
  readonly sameAdapter: boolean;
}

/** Adds the options of commands that work on many machines. */
export function onManyMachines(command: Command): Command {
  return command
    .addOption(
      new Option('--queue <url>', "sends the work to 'slimsam worker's: redis://HOST or postgres://HOST/DATABASE").env(
        'SLIMSAM_QUEUE',
      ),
    )
    .addOption(
      new Option('--store <place>', 'a folder that all machines share, or s3://BUCKET/PREFIX').env('SLIMSAM_STORE'),
    )
    .option('--processes <n>', 'with --store alone: child processes of this machine', positiveInteger, 1)
    .option('--same-adapter', 'refuses results of different adapters', false);
}

/** Whether the work is done by jobs. @throws when a queue has no store */
export function byJobs({ queue, store }: ManyMachinesOptions): boolean {
  if (queue !== undefined && store === undefined)
    throw new Error('--queue: expected --store beside it, where inputs and results are, got none');
  return store !== undefined;
}

/** A job and what came of it. */
interface DoneJob {
  readonly job: Job;
  readonly result: JobResult;
}

/** What runs jobs for a command. */
export interface Crew {
  readonly store: RecordedStore;
  /**
   * Runs jobs with a bar, and gives each with its result as it ends. Jobs are drawn as there is room for them, so that millions are not in
   * memory at once.
   *
   * @param work.total how many they are
   * @throws when some failed, after all others have ended
   */
  done(
    name: string,
    work: { readonly jobs: Iterable<Job> | AsyncIterable<Job>; readonly total: number },
  ): AsyncGenerator<DoneJob, void, undefined>;
  /** What computed what so far: parts of the named work by adapter. */
  adapters(): Readonly<Record<string, string>>;
}

/** The results in the order of the jobs. @throws as `Crew.done` does */
export async function resultsOf(crew: Crew, name: string, jobs: readonly Job[]): Promise<JobResult[]> {
  const found = new Map<string, JobResult>();
  for await (const { result } of crew.done(name, { jobs, total: jobs.length })) found.set(result.job, result);
  return jobs.map((job) => found.get(jobHash(job))!);
}

/** Runs a job for each cell of a grid, and gives each cell with its result as it ends. @throws as `Crew.done` does */
export async function* cellsDone<Cell>(
  crew: Crew,
  { cells, jobOf }: { readonly cells: readonly Cell[]; readonly jobOf: (cell: Cell) => Job },
): AsyncGenerator<{ readonly cell: Cell; readonly result: JobResult }, void, undefined> {
  const jobs = cells.map(jobOf);
  const byHash = new Map(jobs.map((job, i) => [jobHash(job), cells[i]!]));
  for await (const { result } of crew.done('cells', { jobs, total: jobs.length }))
    yield { cell: byHash.get(result.job)!, result };
}

/** What a command's crew is opened for. */
interface CrewOf {
  /** What the run is, for 'slimsam store gc --run'; its name is told. */
  readonly run: unknown;
  /** The adapter of this process, and what it computes itself. */
  readonly own?: { readonly adapter: string; readonly work: string };
  readonly output: Output;
  readonly signal: AbortSignal;
}

/** Opens store and runner for a command. @throws when one of them is out of reach */
export async function openCrew(
  options: ManyMachinesOptions & { readonly backend: string },
  { run, own, output, signal }: CrewOf,
): Promise<Crew & { close(): Promise<void> }> {
  const { queue, store: location, backend, processes, sameAdapter } = options;
  const name = createHash('sha256').update(JSON.stringify(run)).digest('hex').slice(0, 12);
  const adapters = adapterLog({ sameAdapter });
  if (own) adapters.note(own.adapter, { work: own.work });
  const opened = queue === undefined ? undefined : await (await importQueue('--queue')).openQueue(queue);
  const local = opened ? undefined : localRunner({ store: location!, backend, processes });
  const closeRunner = () => Promise.all([opened?.close(), local?.close()]);
  try {
    const store = await recordedStore(await openStore(location!), name);
    output.note(`run ${name} in the store ${store.location}`);
    const runner = opened?.runner ?? local!;
    return {
      store,
      done: (title, work) => doneJobs(work, { title, runner, store, output, signal, adapters }),
      adapters: adapters.told,
      async close() {
        await store.close().finally(closeRunner);
      },
    };
  } catch (error) {
    await closeRunner();
    throw error;
  }
}

/** Opens a crew, and closes it at the end, however that comes. */
export async function withCrew<T>(
  options: ManyMachinesOptions & { readonly backend: string },
  of: CrewOf,
  use: (crew: Crew) => Promise<T>,
): Promise<T> {
  const crew = await openCrew(options, of);
  return use(crew).finally(() => crew.close());
}

/** Milliseconds between two looks at the workers. */
const period = 10_000;

async function* doneJobs(
  { jobs, total }: { readonly jobs: Iterable<Job> | AsyncIterable<Job>; readonly total: number },
  how: {
    readonly title: string;
    readonly runner: JobRunner;
    readonly store: RecordedStore;
    readonly output: Output;
    readonly signal: AbortSignal;
    readonly adapters: AdapterLog;
  },
): AsyncGenerator<DoneJob, void, undefined> {
  const { title, runner, store, output, signal, adapters } = how;
  const bar = output.bar(title, total);
  const began = performance.now();
  let [done, known] = [0, 0];
  const failed: { job: Job; error: Error }[] = [];
  const left = () => {
    const own = done - known;
    if (own === 0) return '';
    const seconds = ((performance.now() - began) / 1000 / own) * (total - done);
    return seconds > 90 ? `about ${Math.round(seconds / 60)} min left` : `about ${Math.ceil(seconds)} s left`;
  };
  const timer = setInterval(() => {
    runner.status?.().then(
      (lines) => {
        for (const line of [`${title}: ${done} of ${total}  ${left()}`, ...lines]) output.note(`  ${line}`);
      },
      () => {}, // out of reach for a moment: the runner itself goes on, or ends with the error
    );
  }, period);
  try {
    for await (const outcome of runJobs(jobs, { runner, store, signal })) {
      await store.noteOutcome(outcome);
      done++;
      const { job } = outcome;
      if ('error' in outcome) {
        failed.push({ job, error: outcome.error });
        output.warn(`${jobTitle(job)} failed: ${outcome.error.message}`);
      } else {
        if (outcome.known) known++;
        const { part, parts } = job.shard;
        adapters.note(outcome.result.adapter, parts > 1 ? { work: title, part } : { work: jobTitle(job) });
        yield { job, result: outcome.result };
      }
      bar.update(done, left());
    }
  } finally {
    clearInterval(timer);
    bar.stop();
  }
  const [first] = failed;
  if (first)
    throw new Error(
      `${failed.length} of ${total} jobs failed; ${jobTitle(first.job)}: ${first.error.message}; 'slimsam queue status' lists them, the same command tries them again`,
      { cause: first.error },
    );
  const mix = adapters.mix();
  if (mix) output.warn(`adapters differ, and so may the last bits of what they computed: ${mix}`);
}

/** Which adapter computed what. */
interface AdapterLog {
  /** @throws when a mix is refused, and this is another adapter than the one before */
  note(adapter: string, what: { readonly work: string; readonly part?: number }): void;
  told(): Record<string, string>;
  /** What is told, in one line; undefined where there is one adapter alone. */
  mix(): string | undefined;
}

function adapterLog({ sameAdapter }: { readonly sameAdapter: boolean }): AdapterLog {
  const found = new Map<string, Map<string, number[]>>();
  const told = () =>
    Object.fromEntries(
      [...found].map(([adapter, works]) => [
        adapter,
        [...works].map(([work, parts]) => (parts.length > 0 ? `${work} ${listed(parts)}` : work)).join(', '),
      ]),
    );
  const mix = () => {
    if (found.size < 2) return undefined;
    return Object.entries(told())
      .map(([adapter, what]) => `${adapter}: ${what}`)
      .join('; ');
  };
  return {
    told,
    mix,
    note(adapter, { work, part }) {
      const works = found.get(adapter) ?? new Map<string, number[]>();
      const parts = works.get(work) ?? [];
      if (part !== undefined) parts.push(part); // in place: there may be a million
      works.set(work, parts);
      found.set(adapter, works);
      if (sameAdapter && found.size > 1)
        throw new Error(
          `--same-adapter: expected one adapter, got ${mix()}; results that are there stay; take another --store, with workers of one adapter`,
        );
    },
  };
}

/** Numbers as text, at most eight. */
function listed(numbers: readonly number[]): string {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  return sorted.length > 8 ? `${sorted.slice(0, 8).join(', ')}, … (${sorted.length})` : sorted.join(', ');
}
