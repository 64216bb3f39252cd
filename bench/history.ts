import { existsSync, readFileSync } from 'node:fs';
import { writeFileAtomic } from '@slimsam/weights';
import { z } from 'zod';
import { median } from '../packages/tensor-webgpu/bench/measure.ts';

const figures = z.strictObject({
  /** Milliseconds of the fastest and of the middle round: the fastest is hardly disturbed by what else a machine does. */
  best: z.number().positive(),
  median: z.number().positive(),
  /** Of the device, for one run. */
  dispatches: z.int().nonnegative(),
});
const runSchema = z.strictObject({
  date: z.iso.datetime(),
  /** With a `+` where files were changed. */
  commit: z.string().regex(/^[0-9a-f]{7,40}\+?$/),
  adapter: z.string(),
  processor: z.string(),
  node: z.string(),
  cases: z.record(z.string(), figures),
});

/** What one run of `npm run bench` measured, a line of the history. */
export type BenchRun = Readonly<z.infer<typeof runSchema>>;

/** A case beside the runs before on the same adapter, processor and version of Node. */
export interface Comparison {
  readonly name: string;
  /** Fastest round, over the median of the fastest rounds before. */
  readonly ratio: number;
  readonly change: 'slower' | 'faster' | 'same';
  /** More or fewer than the last run's. */
  readonly dispatches: number;
}

const remembered = 5; // runs before, of which the median is taken

/** The runs of a history file, the oldest first; none where there is no file. @throws when a line is no run, with its number */
export function readHistory(file: string): BenchRun[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.flatMap((line, i) => {
    if (line.trim() === '') return [];
    try {
      return [runSchema.parse(JSON.parse(line))];
    } catch (error) {
      const reason = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
      throw new Error(`bench: expected a run in line ${i + 1} of '${file}', got ${reason}; remove the line`);
    }
  });
}

/** Adds a run to a history file. */
export async function addRun(file: string, run: BenchRun): Promise<void> {
  const lines = [...readHistory(file), run].map((one) => JSON.stringify(one));
  await writeFileAtomic(file, `${lines.join('\n')}\n`);
}

/**
 * What became slower or faster by more than `threshold`: the fastest round against the median of the last five runs' on the same adapter,
 * processor and major version of Node, and beyond all of these, so that one run among noisy ones is no change. Cases without a run before are left out.
 */
export function compareRuns(run: BenchRun, history: readonly BenchRun[], threshold: number): Comparison[] {
  const major = (node: string) => node.split('.')[0];
  const alike = history.filter(
    ({ adapter, processor, node }) =>
      adapter === run.adapter && processor === run.processor && major(node) === major(run.node),
  );
  return Object.entries(run.cases).flatMap(([name, { best, dispatches }]) => {
    const before = alike.flatMap(({ cases }) => cases[name] ?? []).slice(-remembered);
    if (before.length === 0) return [];
    const bests = before.map((one) => one.best);
    const ratio = best / median(bests);
    const slower = ratio > threshold && best > Math.max(...bests);
    const faster = ratio < 1 / threshold && best < Math.min(...bests);
    const change = slower ? 'slower' : faster ? 'faster' : 'same';
    return [{ name, ratio, change, dispatches: dispatches - before.at(-1)!.dispatches }];
  });
}
