import { readFile } from 'node:fs/promises';
import { checkFields } from '@slimsam/weights';
import { type Metric, parseMetrics } from './metrics.ts';

/** The events of a run, from its metrics.jsonl; none where there is no such file. */
export async function readMetrics(file: string): Promise<Metric[]> {
  checkFields('readMetrics', { file }, { file: 'string' });
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  return parseMetrics(text, file);
}
