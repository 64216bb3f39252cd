import { createHash } from 'node:crypto';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { Job, JobResult } from '../jobs/job.ts';
import { localRunner } from '../jobs/local-runner.ts';
import { importQueue } from '../jobs/queue-package.ts';
import { type JobOutcome, type JobRunner, resultsInOrder } from '../jobs/run-jobs.ts';
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

/** What runs jobs for a command. */
export interface Crew {
  readonly store: RecordedStore;
  /** Runs jobs with a bar, and gives their results in the order of the jobs. @throws when one failed, after all others have ended */
  results(name: string, jobs: readonly Job[]): Promise<JobResult[]>;
}

/**
 * Opens store and runner for a command, and closes them.
 *
 * @param options.run what the run is, for 'slimsam store gc --run'; its name is told
 */
export async function withCrew<T>(
  options: ManyMachinesOptions & { readonly backend: string },
  { run, output, signal }: { readonly run: unknown; readonly output: Output; readonly signal: AbortSignal },
  use: (crew: Crew) => Promise<T>,
): Promise<T> {
  const { queue, store: location, backend, processes, sameAdapter } = options;
  const name = createHash('sha256').update(JSON.stringify(run)).digest('hex').slice(0, 12);
  const store = recordedStore(await openStore(location!), name);
  const opened = queue === undefined ? undefined : await (await importQueue('--queue')).openQueue(queue);
  const local = opened ? undefined : localRunner({ store: location!, backend, processes });
  const runner = opened?.runner ?? local!;
  output.note(`run ${name} in the store ${store.location}`);
  try {
    return await use({
      store,
      results: (title, jobs) => resultsOf(jobs, { title, runner, store, output, signal, sameAdapter }),
    });
  } finally {
    await store.flush();
    await Promise.all([opened?.close(), local?.close()]);
  }
}

/** Milliseconds between two looks at the workers. */
const period = 10_000;

async function resultsOf(
  jobs: readonly Job[],
  how: {
    readonly title: string;
    readonly runner: JobRunner;
    readonly store: RecordedStore;
    readonly output: Output;
    readonly signal: AbortSignal;
    readonly sameAdapter: boolean;
  },
): Promise<JobResult[]> {
  const { title, runner, store, output, signal, sameAdapter } = how;
  const bar = output.bar(title, jobs.length);
  const began = performance.now();
  let [done, known] = [0, 0];
  const left = () => {
    const own = done - known;
    if (own === 0) return '';
    const seconds = ((performance.now() - began) / 1000 / own) * (jobs.length - done);
    return seconds > 90 ? `about ${Math.round(seconds / 60)} min left` : `about ${Math.ceil(seconds)} s left`;
  };
  const timer = setInterval(() => {
    runner.status?.().then(
      (lines) => {
        for (const line of [`${title}: ${done} of ${jobs.length}  ${left()}`, ...lines]) output.note(`  ${line}`);
      },
      () => {}, // out of reach for a moment: the runner itself goes on, or ends with the error
    );
  }, period);
  async function onOutcome(outcome: JobOutcome): Promise<void> {
    await store.noteOutcome(outcome);
    if ('error' in outcome) output.warn(`${describe(outcome.job)} failed: ${outcome.error.message}`);
    else if (outcome.known) known++;
    bar.update(++done, left());
  }
  try {
    const results = await resultsInOrder(jobs, { runner, store, signal, onOutcome });
    checkAdapters(results, { title, output, sameAdapter });
    return results;
  } finally {
    clearInterval(timer);
    bar.stop();
  }
}

const describe = ({ kind, shard }: Job): string => `${kind} ${shard.part} of ${shard.parts}`;

/** Says which adapters computed what, where they differ: their last bits may. @throws when a mix is refused */
function checkAdapters(
  results: readonly JobResult[],
  { title, output, sameAdapter }: { title: string; output: Output; sameAdapter: boolean },
): void {
  const parts = new Map<string, number[]>();
  for (const [i, { adapter }] of results.entries()) parts.set(adapter, [...(parts.get(adapter) ?? []), i + 1]);
  if (parts.size < 2) return;
  const who = [...parts].map(([adapter, own]) => `${adapter}: ${own.length} (${listed(own)})`).join('; ');
  if (sameAdapter)
    throw new Error(
      `--same-adapter: expected one adapter for '${title}', got ${who}; results that are there stay; take another --store with workers of one adapter`,
    );
  output.warn(`${title}: adapters differ, and so may the last bits of their parts: ${who}`);
}

/** Numbers as text, at most eight. */
const listed = (numbers: readonly number[]): string =>
  numbers.length > 8 ? `${numbers.slice(0, 8).join(', ')}, …` : numbers.join(', ');
