import { Command, Option } from 'commander';
import { importQueue, type JobQueue } from '../../jobs/queue-package.ts';
import { output, table } from '../output.ts';

interface Options {
  readonly queue: string;
  readonly json: boolean;
}

/** `slimsam queue status | retry | drain`. */
export function queueCommand(signal: AbortSignal): Command {
  const command = new Command('queue').description('shows a queue, lets failed jobs begin anew, or empties it');
  const add = (name: string, description: string, run: (queue: JobQueue, options: Options) => Promise<void>) => {
    command
      .command(name)
      .description(description)
      .addOption(
        new Option('--queue <url>', 'redis://HOST or postgres://HOST/DATABASE')
          .env('SLIMSAM_QUEUE')
          .makeOptionMandatory(),
      )
      .option('--json', 'the result as JSON, for programs', false)
      .exitOverride()
      .action(async (options: Options) => {
        signal.throwIfAborted();
        const queue = await (await importQueue('slimsam queue')).openQueue(options.queue);
        try {
          await run(queue, options);
        } finally {
          await queue.close();
        }
      });
  };
  add('status', 'jobs that wait, are under way and failed; workers', status);
  add('retry', 'the failed jobs begin anew', async (queue, options) => {
    const count = await queue.retry();
    output(options).result(`${count} failed jobs begin anew`, { retried: count });
  });
  add('drain', 'takes away the jobs that no worker has begun, and the failed ones', async (queue, options) => {
    const count = await queue.drain();
    output(options).result(`${count} jobs taken away`, { drained: count });
  });
  return command;
}

async function status(queue: JobQueue, options: Options): Promise<void> {
  const [counts, workers, failed] = [await queue.counts(), await queue.workers(), await queue.failed()];
  const lines = [
    `${counts.waiting} jobs wait, ${counts.active} are under way, ${counts.failed} failed`,
    `${workers.length} workers${workers.length > 0 ? `: ${workers.join(', ')}` : ''}`,
  ];
  const rows = failed.map(({ input, error, attempts }) => [input, attempts, error]);
  if (rows.length > 0) lines.push(table(['failed', 'tries', 'error'], rows));
  output(options).result(lines.join('\n'), { ...counts, workers, list: failed });
}
