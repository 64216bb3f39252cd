import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { readPixels } from '../data/pixels.ts';
import type { ImageRecord } from '../protocols/records.ts';
import { readResults } from '../protocols/results-folder.ts';
import { writeEvaluationReport } from '../report/evaluation-report.ts';

export interface ReportCommand {
  readonly out: string;
  readonly title: string;
  readonly images?: string;
  /** Milliseconds of the encoder by the model's name. */
  readonly latency?: ReadonlyMap<string, number>;
}

/** `slimsam-eval report`: the path of the page. */
export async function report(
  folders: readonly string[],
  { out, title, images, latency }: ReportCommand,
): Promise<string> {
  const runs = await Promise.all(folders.map(readResults));
  const names = runs.map(({ config }) => config.model.name);
  const unknown = [...(latency?.keys() ?? [])].find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new Error(`--latency: expected a model's name, one of ${names.join(', ')}, got '${unknown}'`);
  const pixels = (record: ImageRecord) =>
    readPixels({ ...record, bytes: async () => new Uint8Array(await readFile(path.join(images!, record.name))) });
  return writeEvaluationReport({
    ...{ folder: out, title, runs },
    ...(latency && { latency }),
    ...(images !== undefined && { pixels }),
  });
}
