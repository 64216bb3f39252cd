import { checkFields } from '@slimsam/weights';

/** Durations in milliseconds. */
export interface Latency {
  readonly median: number;
  /** 95 of 100 are at most this. */
  readonly p95: number;
  readonly least: number;
  readonly most: number;
  /** In the order they were taken. */
  readonly samples: readonly number[];
}

/**
 * Measures how long `run` takes until its promise resolves: have it await the result's data, or only the submission is timed. The first
 * `warmup` runs (3 unless given) are not counted, `repeats` (20 unless given) are.
 *
 * @throws when repeats is below 1, or the signal aborts
 */
export async function measureLatency(
  run: () => Promise<unknown>,
  options: { readonly warmup?: number; readonly repeats?: number; readonly signal?: AbortSignal } = {},
): Promise<Latency> {
  checkFields('measureLatency', { run, options }, { run: 'function', options: 'object?' });
  const [latency] = (await measureLatencies(new Map([['', run]]), options)).values();
  return latency!;
}

/**
 * The same for several models, in turns: each round runs every one once, so that a busy spell of the machine meets them all.
 *
 * @throws as measureLatency
 */
export async function measureLatencies(
  runs: ReadonlyMap<string, () => Promise<unknown>>,
  options: { readonly warmup?: number; readonly repeats?: number; readonly signal?: AbortSignal } = {},
): Promise<Map<string, Latency>> {
  checkFields('measureLatencies', { runs, options }, { runs: 'iterable', options: 'object?' });
  const { warmup = 3, repeats = 20, signal } = options;
  if (!(repeats >= 1)) throw new Error(`measureLatency: expected repeats of at least 1, got ${repeats}`);
  const samples = new Map([...runs.keys()].map((name) => [name, [] as number[]]));
  for (let i = -warmup; i < repeats; i++) {
    for (const [name, run] of runs) {
      signal?.throwIfAborted();
      const start = performance.now();
      await run();
      if (i >= 0) samples.get(name)!.push(performance.now() - start);
    }
  }
  return new Map([...samples].map(([name, list]) => [name, latencyOf(list)]));
}

/** Median, 95th percentile and range of durations. @throws when there is none */
export function latencyOf(samples: readonly number[]): Latency {
  checkFields('latencyOf', { samples }, { samples: 'list' });
  if (samples.length === 0) throw new Error('latencyOf: expected durations, got none');
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
  const p95 = sorted[Math.ceil(0.95 * sorted.length) - 1]!;
  return { median, p95, least: sorted[0]!, most: sorted.at(-1)!, samples };
}
