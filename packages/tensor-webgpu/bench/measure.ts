import type { Case, Pass } from './cases/case.ts';
import type { Prepared, Runner } from './peers/runner.ts';

/** Time of one run and the rate that it comes to. */
export interface Measured {
  readonly ms: number;
  readonly gflops: number;
}

export interface Row {
  readonly case: string;
  readonly pass: Pass;
  readonly ours: Measured;
  readonly peers: Readonly<Record<string, Measured>>;
  /** Of ours against float64, over the largest value. */
  readonly maxError: number;
  /** How much longer the first run takes: the pipelines that no case before has made are compiled then, without the driver's cache. */
  readonly compileMs: number | null;
}

const wrong = 1e-2; // a peer whose error exceeds this has not done the case
const patience = 20_000; // ms of repeated runs of one peer: slower ones get fewer rounds, at least one

export const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]!;

export const geometricMean = (list: readonly number[]): number =>
  Math.exp(list.reduce((sum, value) => sum + Math.log(value), 0) / list.length);

/**
 * Runs a case on all runners in turn, `rounds` times after one run to warm up, and takes medians. The first runner is ours: it must
 * succeed. Others that cannot do the case, or do it wrong, are left out and `leftOut` hears why.
 */
export async function measure(
  one: Case,
  options: { pass: Pass; runners: readonly Runner[]; rounds: number; leftOut: (name: string, reason: string) => void },
): Promise<Row> {
  const { pass, runners, rounds, leftOut } = options;
  const made = one.make();
  const ready: { name: string; prepared: Prepared; rounds: number; times: number[] }[] = [];
  let maxError = 0;
  let firstMs = 0;
  try {
    for (const runner of runners) {
      const isOurs = runner === runners[0];
      try {
        const prepared = await runner.prepare(one, made, pass);
        ready.push({ name: runner.name, prepared, rounds: 0, times: [] });
        const firstRun = await timed(prepared);
        const error = one.error(pass, await prepared.results(), made);
        if (isOurs) [maxError, firstMs] = [error, firstRun];
        if (!(error < wrong))
          throw new Error(`its values are wrong: the largest error is ${error} of the largest value`);
        const first = await timed(prepared);
        ready.at(-1)!.rounds = Math.max(1, Math.min(rounds, Math.floor(patience / first)));
      } catch (error) {
        if (isOurs) throw error;
        const failed = ready.at(-1);
        if (failed?.name === runner.name) ready.pop()!.prepared.free();
        leftOut(runner.name, error instanceof Error ? error.message : String(error));
      }
    }
    for (let round = 0; round < rounds; round++)
      for (const entry of ready) if (round < entry.rounds) entry.times.push(await timed(entry.prepared));
  } finally {
    for (const { prepared } of ready) prepared.free();
  }
  const flops = one.flops * (pass === 'forward' ? 1 : 3);
  const [own, ...others] = ready.map(({ name, times }) => {
    const ms = median(times);
    return [name, { ms: rounded(ms), gflops: rounded(flops / ms / 1e6) }] as const;
  });
  const compileMs = Math.max(0, Math.round(firstMs - own![1].ms));
  return { case: one.name, pass, ours: own![1], peers: Object.fromEntries(others), maxError, compileMs };
}

async function timed({ run }: Prepared): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

const rounded = (value: number): number => Number(value.toPrecision(4));
