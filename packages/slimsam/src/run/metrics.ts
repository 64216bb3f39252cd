import { appendFile, readFile } from 'node:fs/promises';
import { writeFileAtomic } from '@slimsam/weights';
import type { CompressEvent } from '../compress/events.ts';

/** An event as it stands in metrics.jsonl: all but the photographs' counting and the models. */
export type Metric = Exclude<CompressEvent, { type: 'done' | 'scored' }>;

/** The events of a run, one JSON a line. A last line that a kill tore is passed over. */
export async function readMetrics(file: string): Promise<Metric[]> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.flatMap((line, i) => {
    try {
      return [JSON.parse(line) as Metric];
    } catch (error) {
      if (i === lines.length - 1) return [];
      throw new Error(`metrics: expected JSON in line ${i + 1} of '${file}', got '${line.slice(0, 40)}'`, {
        cause: error,
      });
    }
  });
}

export async function appendMetric(file: string, event: CompressEvent): Promise<void> {
  if (event.type === 'done' || event.type === 'scored') return;
  await appendFile(file, `${JSON.stringify(event)}\n`).catch((error: NodeJS.ErrnoException) => {
    const reason =
      error.code === 'ENOSPC' ? 'a full disk (ENOSPC); free some space, the same command goes on' : error.message;
    throw new Error(`metrics: expected to write to '${file}', got ${reason}`, { cause: error });
  });
}

/** Takes back what was noted after a step of a recipe's step: the run goes on from there. */
export async function trimMetrics(file: string, { index, step }: { index: number; step: number }): Promise<void> {
  const metrics = await readMetrics(file);
  const kept = metrics.filter((event) => {
    if (event.type === 'skipped' || event.index < index) return true;
    return event.index === index && step > 0 && (!('step' in event) || event.step <= step);
  });
  if (kept.length < metrics.length) {
    await writeFileAtomic(file, kept.map((event) => `${JSON.stringify(event)}\n`).join(''));
  }
}
