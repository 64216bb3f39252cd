import { Command, InvalidArgumentError, Option } from 'commander';
import { openStore } from '../../jobs/store/open-store.ts';
import { collectGarbage } from '../../jobs/store/runs.ts';
import { bytes, output } from '../output.ts';

const units: ReadonlyMap<string, number> = new Map([
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** Parses an age: 90m, 12h, 30d. @returns milliseconds */
function age(text: string): number {
  const [, count = '', unit = ''] = /^(\d+)([mhd])$/.exec(text) ?? [];
  const size = units.get(unit);
  if (size === undefined) throw new InvalidArgumentError('expected an age like 90m, 12h or 30d.');
  return Number(count) * size;
}

/** `slimsam store gc`: frees what no run needs any more. */
export function storeCommand(): Command {
  const command = new Command('store').description('looks after the store of --store');
  command
    .command('gc')
    .description('removes what only old runs, or one run, have put there')
    .addOption(
      new Option('--store <place>', 'a folder, or s3://BUCKET/PREFIX').env('SLIMSAM_STORE').makeOptionMandatory(),
    )
    .addOption(
      new Option('--older-than <age>', 'runs that put nothing there for so long')
        .argParser(age)
        .default(30 * 86_400_000, '30d'),
    )
    .option('--run <name>', 'this run alone, as its command told it')
    .option('--json', 'the result as JSON, for programs', false)
    .exitOverride()
    .action(
      async ({ store, olderThan, run, json }: { store: string; olderThan: number; run?: string; json: boolean }) => {
        const opened = await openStore(store);
        const found = await collectGarbage(opened, { age: olderThan, run });
        const line = `${found.things} things of ${bytes(found.bytes)} removed from ${opened.location}; runs: ${found.runs.join(', ') || 'none'}`;
        output({ json }).result(line, found);
      },
    );
  return command;
}
