/** Durations in milliseconds. */
export interface Latency {
  readonly median: number;
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
  const { warmup = 3, repeats = 20, signal } = options;
  if (!(repeats >= 1)) throw new Error(`measureLatency: expected repeats of at least 1, got ${repeats}`);
  const samples: number[] = [];
  for (let i = -warmup; i < repeats; i++) {
    signal?.throwIfAborted();
    const start = performance.now();
    await run();
    if (i >= 0) samples.push(performance.now() - start);
  }
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
  return { median, least: sorted[0]!, most: sorted.at(-1)!, samples };
}
