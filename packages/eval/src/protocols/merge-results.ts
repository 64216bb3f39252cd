import { checkFields, makeFolder, writeFileAtomic } from '@slimsam/weights';
import { path } from '#node';
import { badRecordText } from '../coco/bad-record.ts';
import type { ImageRecord } from './records.ts';
import { readRecords, readResults } from './results-folder.ts';
import { finish } from './run-protocol.ts';
import type { Summary } from './summary.ts';

/**
 * Joins the folders of all shards of a run to one, as if the run had been one: the same records, results and summary.
 *
 * @throws when the folders are not all shards of one run, each once and done
 */
export async function mergeResults(folders: readonly string[], into: { readonly folder: string }): Promise<Summary> {
  checkFields('mergeResults', { folders }, { folders: 'list' });
  checkFields('mergeResults', into, { folder: 'string' });
  const { folder } = into;
  const parts = await Promise.all(folders.map(readResults));
  const [first] = parts;
  if (!first) throw new Error('mergeResults: expected folders of shards, got none');
  const key = ({ config }: (typeof parts)[number]) =>
    JSON.stringify([
      config.protocol,
      config.options,
      config.model,
      config.categories,
      config.shard.parts,
      config.done?.images,
    ]);
  for (const other of parts) {
    if (key(other) !== key(first)) {
      throw new Error(
        `mergeResults: '${other.folder}': expected a shard of the run of '${first.folder}', got another run's`,
      );
    }
  }
  const numbers = parts.map(({ config }) => config.shard.part).sort((a, b) => a - b);
  if (numbers.length !== first.config.shard.parts || numbers.some((part, i) => part !== i + 1)) {
    throw new Error(
      `mergeResults: expected shards 1 to ${first.config.shard.parts}, each once, got ${numbers.join(', ')}`,
    );
  }
  const records: ImageRecord[] = parts.flatMap((part) => part.records).sort((a, b) => a.index - b.index);
  const images = first.config.done!.images;
  const skipped = parts.reduce((sum, { config }) => sum + config.done!.skipped, 0);
  if (records.length + skipped !== images)
    throw new Error(`mergeResults: expected ${images} images, got ${records.length} and ${skipped} that were skipped`);
  // every shard has the bad records of the readers, and its own bad images
  const bad = new Map(parts.flatMap(({ config }) => config.done!.bad.map((one) => [badRecordText(one), one] as const)));
  await makeFolder(folder);
  if ((await readRecords(folder)).length > 0)
    throw new Error(`mergeResults: expected an empty folder, got '${folder}' with results`);
  await writeFileAtomic(
    path.join(folder, 'images.jsonl'),
    records.map((record) => `${JSON.stringify(record)}\n`).join(''),
  );
  const config = { ...first.config, shard: { part: 1, parts: 1 } };
  return finish(folder, { config, records, images, skipped, bad: [...bad.values()] });
}
