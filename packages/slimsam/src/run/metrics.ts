import type { CompressEvent } from '../compress/events.ts';

/** An event as it stands in metrics.jsonl: all but the photographs' counting and the models. */
export type Metric = Exclude<CompressEvent, { type: 'done' | 'scored' }>;

/** A line of metrics.jsonl; undefined for events that are not kept. */
export function metricLine(event: CompressEvent): string | undefined {
  return event.type === 'done' || event.type === 'scored' ? undefined : `${JSON.stringify(event)}\n`;
}

/** The events of a run, one JSON a line. A last line that a kill tore is passed over. */
export function parseMetrics(text: string, file: string): Metric[] {
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

/** The events up to a step of a recipe's step, from which the run goes on. */
export function metricsUpTo(metrics: readonly Metric[], { index, step }: { index: number; step: number }): Metric[] {
  return metrics.filter((event) => {
    if (event.type === 'skipped' || event.index < index) return true;
    return event.index === index && step > 0 && (!('step' in event) || event.step <= step);
  });
}
