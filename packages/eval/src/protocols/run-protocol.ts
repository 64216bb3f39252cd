import { checkFields } from '@slimsam/weights';
import { type BadRecord, type OnBad, refuse } from '../coco/bad-record.ts';
import type { CocoCategory, CocoImage, GroundTruth } from '../coco/instances.ts';
import type { EvalAnnotation, EvalImage } from '../data/eval-image.ts';
import { readPixels } from '../data/pixels.ts';
import { reason, sha256 } from '../data/sa1b-image.ts';
import type { RgbImage } from '../image.ts';
import { compressRle, rleArea } from '../masks/rle.ts';
import { type Protocol, runOnImage } from './protocols.ts';
import type { ImageRecord, TruthRecord } from './records.ts';
import { appendRecord, openResults, type RunConfig, writeConfig, writeResults } from './results-folder.ts';
import { checkedSegment, type ImageToSegment, type Segment } from './segment.ts';
import { type Summary, summarise } from './summary.ts';

export interface RunOptions {
  readonly protocol: Protocol;
  readonly images: AsyncIterable<EvalImage> | Iterable<EvalImage>;
  readonly segment: Segment;
  readonly model: {
    readonly name: string;
    /** SHA-256 of the weights' file. */
    readonly weights: string;
  };
  /** The results folder; a run that was stopped goes on where it was. */
  readonly folder: string;
  /** COCO's and LVIS's categories and images; one category unless given. */
  readonly groundTruth?: Pick<GroundTruth, 'categories' | 'images'>;
  /** Every `parts`-th image, from the `part`-th, counted from 1. */
  readonly shard?: { readonly part: number; readonly parts: number };
  /** Records that the readers left out (their onBad's) and `onBad` received: listed in config.json. */
  readonly bad?: readonly BadRecord[];
  /** Receives images that cannot be decoded or are of another size than stated, which are left out; without it the first is an error. */
  readonly onBad?: OnBad;
  readonly signal?: AbortSignal;
  /** After each image of the shard; `resumed`: it was done before. */
  readonly onImage?: (progress: {
    readonly done: number;
    readonly record: ImageRecord;
    readonly resumed: boolean;
  }) => void;
}

const oneCategory: readonly CocoCategory[] = [{ id: 1, name: 'object' }];

/**
 * Evaluates a model by a protocol into a folder: config.json (what was run, with hashes of weights, data and prompts), images.jsonl (one
 * line an image, written when it is done), results.json (COCO results) and summary.json. After a kill the same call goes on with the
 * images that are missing; the summary is exactly that of an unbroken run.
 *
 * @throws when the folder holds another run; a model's answers have a wrong number or size; an image is unreadable; the set has no image,
 * or no annotation; the signal aborts
 */
export async function runProtocol(options: RunOptions): Promise<Summary> {
  checkFields('runProtocol', options, {
    protocol: 'object',
    images: 'iterable',
    segment: 'function',
    model: 'object',
    folder: 'string',
  });
  const { protocol, folder, signal, bad = [], shard = { part: 1, parts: 1 } } = options;
  if (
    !(Number.isInteger(shard.part) && shard.part >= 1 && shard.part <= shard.parts && Number.isInteger(shard.parts))
  ) {
    throw new Error(`shard: expected a part of 1 to ${shard.parts}, got ${shard.part}`);
  }
  const config = configOf(options, shard);
  const segment = checkedSegment(options.segment);
  const records = new Map((await openResults(folder, config)).map((record) => [record.index, record]));
  let [total, skipped] = [0, 0];
  for await (const image of options.images) {
    signal?.throwIfAborted();
    const index = total++;
    if (index % shard.parts !== shard.part - 1) continue;
    const data = await dataHash(image);
    const before = records.get(index);
    if (before && before.data !== data) {
      throw new Error(
        `'${folder}': '${image.name}': expected the data as it was when the run began, got other; use another folder`,
      );
    }
    const record = before ?? (await recordOf(image, { index, data, protocol, segment, onBad: options.onBad }));
    if (!record) {
      skipped++;
      continue;
    }
    if (!before) await appendRecord(folder, record);
    records.set(index, record);
    options.onImage?.({ done: records.size, record, resumed: Boolean(before) });
  }
  if (records.size === 0) throw new Error(`${protocol.name}: expected images, got none`);
  return finish(folder, { config, records: [...records.values()], images: total, skipped, bad });
}

/** Writes what follows from the records, and marks the folder as done. */
export async function finish(
  folder: string,
  {
    config,
    records,
    images,
    skipped,
    bad,
  }: {
    config: RunConfig;
    records: readonly ImageRecord[];
    images: number;
    skipped: number;
    bad: readonly BadRecord[];
  },
): Promise<Summary> {
  const sorted = [...records].sort((a, b) => a.index - b.index);
  const summary = summarise(sorted, {
    protocol: config.protocol,
    categories: config.categories,
    bad: bad.length,
    ...(config.protocol === 'instances' && { rules: config.options.rules === 'lvis' ? 'lvis' : 'coco' }),
    ...(config.lvis && { images: config.lvis }),
  });
  await writeResults(folder, sorted, summary);
  const hash = (key: 'data' | 'prompts') => sha256(sorted.map((record) => record[key]).join('\n'));
  const done = { images, skipped, data: hash('data'), prompts: hash('prompts'), bad };
  await writeConfig(folder, { ...config, done });
  return summary;
}

function configOf({ protocol, model, groundTruth }: RunOptions, shard: RunConfig['shard']): RunConfig {
  const options: Record<string, string | number> = {};
  if (protocol.name === 'clicks') options.clicks = protocol.clicks;
  let lvis: readonly CocoImage[] | undefined;
  if (protocol.name === 'instances') {
    options.rules = protocol.rules;
    options.boxes = protocol.boxes ? sha256(JSON.stringify([...protocol.boxes])) : 'annotations';
    if (protocol.rules === 'lvis') lvis = groundTruth?.images;
  }
  return {
    format: 1,
    protocol: protocol.name,
    options,
    model: { name: model.name, weights: model.weights },
    shard,
    categories: groundTruth?.categories ?? oneCategory,
    ...(lvis && { lvis }),
  };
}

async function dataHash({ bytes, annotations, boundaries, ...image }: EvalImage): Promise<string> {
  const about = annotations.map(({ segmentation, ...rest }) => ({ ...rest, segmentation: compressRle(segmentation) }));
  const drawn = boundaries?.map(sha256);
  const facts = [image.id, image.name, image.width, image.height, about, ...(drawn ? [drawn] : [])];
  return sha256(sha256(await bytes()) + JSON.stringify(facts));
}

async function recordOf(
  image: EvalImage,
  {
    index,
    data,
    protocol,
    segment,
    onBad,
  }: { index: number; data: string; protocol: Protocol; segment: Segment; onBad: OnBad | undefined },
): Promise<ImageRecord | undefined> {
  const { annotations, boundaries, ...rest } = image;
  let pixels: Promise<RgbImage> | undefined;
  let unreadable: unknown;
  const given: ImageToSegment = {
    ...rest,
    pixels: () => {
      pixels ??= readPixels(image).catch((error: unknown) => {
        unreadable = error;
        throw error;
      });
      return pixels;
    },
  };
  const objects = annotations.filter(({ crowd }) => !crowd);
  const [full, empty] = [[] as EvalAnnotation[], [] as EvalAnnotation[]];
  for (const annotation of objects) (rleArea(annotation.segmentation) > 0 ? full : empty).push(annotation);
  const answered = await runOnImage(protocol, given, {
    ...{ annotations: full, segment },
    ...(boundaries && { boundaries }),
  }).catch((error: unknown) => {
    if (unreadable === undefined || error !== unreadable) throw error;
    const problem = reason(unreadable).replace(`'${image.name}': `, '');
    refuse({ source: `'${image.imagePath ?? image.name}'`, record: `id ${image.id}`, field: '', problem }, onBad);
    return undefined;
  });
  if (!answered) return undefined;
  const { prompts, results, edges } = answered;
  return {
    index,
    id: image.id,
    name: image.name,
    width: image.width,
    height: image.height,
    data,
    prompts: sha256(JSON.stringify(prompts)),
    left_out: empty.map(({ id }) => id),
    truths: annotations.map(truthOf),
    results,
    ...(edges && { edges }),
  };
}

function truthOf({ id, categoryId, area, crowd, ignore, bbox, segmentation }: EvalAnnotation): TruthRecord {
  return {
    id,
    category_id: categoryId ?? 1,
    area,
    iscrowd: crowd ? 1 : 0,
    ignore: ignore ? 1 : 0,
    bbox,
    segmentation: compressRle(segmentation),
  };
}
