import { Command, Option } from 'commander';
import { backends } from '../../backend/open-backend.ts';
import { importQueue, type WorkOptions } from '../../jobs/queue-package.ts';
import { positiveNumber } from '../options.ts';

type WorkerOptions = Omit<WorkOptions, 'signal' | 'note'>;

/** `slimsam worker --queue URL --store PLACE`: works on the jobs of other machines until it is stopped. */
export function workerCommand(signal: AbortSignal): Command {
  return new Command('worker')
    .description(
      "does the work of commands that were given --queue, on this machine's adapter, until it is stopped (Ctrl-C hands its job back)",
    )
    .addOption(
      new Option('--queue <url>', 'redis://HOST or postgres://HOST/DATABASE')
        .env('SLIMSAM_QUEUE')
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--store <place>', 'a folder that all machines share, or s3://BUCKET/PREFIX')
        .env('SLIMSAM_STORE')
        .makeOptionMandatory(),
    )
    .addOption(new Option('--backend <name>', 'what computes').choices([...backends]).default('webgpu'))
    .option('--adapter <name>', 'a part of the name of the WebGPU adapter, where a machine has several')
    .option('--lock <seconds>', 'without a sign of life after which its job is another worker’s', positiveNumber, 30)
    .addHelpText('after', '\nExample:\n  slimsam worker --queue redis://10.0.0.1 --store /mnt/shared/slimsam')
    .action(async (options: WorkerOptions) => {
      const note = (line: string) => void process.stderr.write(`${line}\n`);
      await (await importQueue('slimsam worker')).work({ ...options, signal, note });
    });
}
