import { parseArgs } from 'node:util';

export interface BenchOptions {
  /** Which cases, by name. */
  readonly filter: RegExp;
  readonly rounds: number;
  /** Where to write the rows. */
  readonly json: string | undefined;
}

/** The benches' command line. @throws when an option is unknown or no number */
export function benchOptions(defaults: { rounds: number }): BenchOptions {
  const { values } = parseArgs({
    options: {
      filter: { type: 'string', default: '' },
      rounds: { type: 'string', default: String(defaults.rounds) },
      json: { type: 'string' },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`bench: expected --rounds to be 1, 2, …, got '${values.rounds}'`);
  return { filter: new RegExp(values.filter, 'i'), rounds, json: values.json };
}
