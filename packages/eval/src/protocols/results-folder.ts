import { checkFields, makeFolder, writeFileAtomic } from '@slimsam/weights';
import * as z from 'zod';
import { appendFile, open, path, readFile, truncate } from '#node';
import type { BadRecord } from '../coco/bad-record.ts';
import type { CocoCategory, CocoImage } from '../coco/instances.ts';
import { reason } from '../data/sa1b-image.ts';
import type { ImageRecord } from './records.ts';
import type { Summary } from './summary.ts';

/** config.json of a results folder: what was run. */
export interface RunConfig {
  /** Of this form. */
  readonly format: 1;
  readonly protocol: string;
  /** The protocol's options: clicks, rules, the hash of a detector's boxes. */
  readonly options: Readonly<Record<string, string | number>>;
  /** The model's name and the SHA-256 of its weights. */
  readonly model: { readonly name: string; readonly weights: string };
  /** Part `part` of `parts`, from 1; every parts-th image. */
  readonly shard: { readonly part: number; readonly parts: number };
  readonly categories: readonly CocoCategory[];
  /** LVIS's lists of categories that are absent or incomplete. */
  readonly lvis?: readonly CocoImage[] | undefined;
  /** Once all is done: images in the whole set, those of this folder that could not be read, the SHA-256 of its data and prompts. */
  readonly done?:
    | {
        readonly images: number;
        readonly skipped: number;
        readonly data: string;
        readonly prompts: string;
        readonly bad: readonly BadRecord[];
      }
    | undefined;
}

const runConfig: z.ZodType<RunConfig> = z.object({
  format: z.literal(1),
  protocol: z.string(),
  options: z.record(z.string(), z.union([z.string(), z.number()])),
  model: z.object({ name: z.string(), weights: z.string() }),
  shard: z.object({ part: z.int().positive(), parts: z.int().positive() }),
  categories: z.array(z.object({ id: z.int(), name: z.string(), frequency: z.enum(['r', 'c', 'f']).optional() })),
  lvis: z
    .array(
      z.object({
        id: z.int(),
        width: z.int(),
        height: z.int(),
        fileName: z.string(),
        absent: z.array(z.int()),
        incomplete: z.array(z.int()),
      }),
    )
    .optional(),
  done: z
    .object({
      images: z.int(),
      skipped: z.int().default(0),
      data: z.string(),
      prompts: z.string(),
      bad: z.array(z.object({ source: z.string(), record: z.string(), field: z.string(), problem: z.string() })),
    })
    .optional(),
}) as z.ZodType<RunConfig>;

const files = {
  config: 'config.json',
  records: 'images.jsonl',
  results: 'results.json',
  summary: 'summary.json',
} as const;

/** A results folder, read. */
export interface ResultsFolder {
  readonly folder: string;
  readonly config: RunConfig;
  readonly records: readonly ImageRecord[];
  readonly summary: Summary;
}

/** @throws when the folder has no config, or it is not one of ours */
async function readConfig(folder: string): Promise<RunConfig> {
  const file = path.join(folder, files.config);
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new Error(`'${file}': expected a results folder's config, got ${reason(error)}`, { cause: error });
  });
  try {
    return runConfig.parse(JSON.parse(text));
  } catch (error) {
    const problem = error instanceof z.ZodError ? z.prettifyError(error) : reason(error);
    throw new Error(`'${file}': expected a results folder's config, got ${problem}`, { cause: error });
  }
}

/** Makes the folder, or checks that what is in it is of the same run. @returns what is done already */
export async function openResults(folder: string, config: RunConfig): Promise<ImageRecord[]> {
  await makeFolder(folder);
  const old = await readConfig(folder).catch((error: unknown) => {
    if (error instanceof Error && /ENOENT/.test(error.message)) return undefined;
    throw error;
  });
  if (!old) {
    await writeConfig(folder, config);
    return [];
  }
  for (const key of ['protocol', 'options', 'model', 'shard', 'categories'] as const) {
    const [before, now] = [JSON.stringify(old[key]), JSON.stringify(config[key])];
    if (before !== now) {
      throw new Error(
        `'${folder}': ${key}: expected ${before.slice(0, 200)} to go on with, got ${now.slice(0, 200)}; use another folder`,
      );
    }
  }
  return readRecords(folder, { repair: true });
}

export async function writeConfig(folder: string, config: RunConfig): Promise<void> {
  await writeFileAtomic(path.join(folder, files.config), `${JSON.stringify(config, null, 2)}\n`);
}

/** Adds a line; it is on the disk when this resolves. */
export async function appendRecord(folder: string, record: ImageRecord): Promise<void> {
  await appendFile(path.join(folder, files.records), `${JSON.stringify(record)}\n`, { flush: true });
}

/**
 * The lines of images.jsonl. A last line that a kill cut short is left out, and with `repair` cut off the file.
 *
 * @throws when another line is no record
 */
export async function readRecords(
  folder: string,
  { repair = false }: { repair?: boolean } = {},
): Promise<ImageRecord[]> {
  const file = path.join(folder, files.records);
  const handle = await open(file).catch(() => undefined);
  if (!handle) return [];
  const records: ImageRecord[] = [];
  let whole = 0;
  try {
    const { size } = await handle.stat();
    for await (const line of handle.readLines({ encoding: 'utf8' })) {
      const end = whole + Buffer.byteLength(line) + 1;
      if (end > size) break; // no end of line: cut short
      try {
        records.push(JSON.parse(line) as ImageRecord);
      } catch (error) {
        throw new Error(`'${file}': line ${records.length + 1}: expected JSON, got ${reason(error)}`, { cause: error });
      }
      whole = end;
    }
    if (repair && whole < size) await truncate(file, whole);
  } finally {
    await handle.close();
  }
  return records;
}

/** Writes results.json (COCO results, which pycocotools reads) and summary.json. */
export async function writeResults(folder: string, records: readonly ImageRecord[], summary: Summary): Promise<void> {
  const lines = [...records]
    .sort((a, b) => a.index - b.index)
    .flatMap(({ id, results }) =>
      results.map(({ annotation_id, category_id, score, segmentation }) =>
        JSON.stringify({ image_id: id, category_id, score, segmentation, annotation_id }),
      ),
    );
  await writeFileAtomic(path.join(folder, files.results), `[${lines.join(',\n')}]\n`);
  await writeFileAtomic(path.join(folder, files.summary), `${JSON.stringify(summary, null, 2)}\n`);
}

/** A results folder that is done. @throws when it is not */
export async function readResults(folder: string): Promise<ResultsFolder> {
  checkFields('readResults', { folder }, { folder: 'string' });
  const config = await readConfig(folder);
  if (!config.done)
    throw new Error(`'${folder}': expected a run that is done, got one that is not; run it again to go on`);
  const summary = JSON.parse(await readFile(path.join(folder, files.summary), 'utf8')) as Summary;
  return { folder, config, records: await readRecords(folder), summary };
}
