import { stat } from 'node:fs/promises';
import * as z from 'zod';
import { type BadRecord, type OnBad, refuse } from '../coco/bad-record.ts';
import { readGroundTruth } from '../coco/read-coco.ts';
import { readJsonLists } from '../coco/read-json.ts';
import { readSa1b } from '../data/read-sa1b.ts';
import { reason } from '../data/sa1b-image.ts';
import { type AnyRle, decompressRle, type Rle } from '../masks/rle.ts';
import { rleIou } from '../masks/rle-operations.ts';
import { skippedLines } from './coco.ts';

interface Truth {
  readonly image: string;
  readonly segmentation: AnyRle;
}

const result = z.object({
  annotation_id: z.int(),
  segmentation: z.object({ size: z.tuple([z.int(), z.int()]), counts: z.union([z.string(), z.array(z.number())]) }),
});

/** `slimsam-eval miou`: what is printed. */
export async function miou(
  truthPath: string,
  resultsFile: string,
  options: { readonly json?: boolean; readonly skipBad?: boolean },
): Promise<string> {
  const bad: BadRecord[] = [];
  const onBad: OnBad | undefined = options.skipBad ? (record) => bad.push(record) : undefined;
  const truths = await readTruths(truthPath, onBad);
  const masks = await readMasks(resultsFile, { truths, onBad });
  const images = new Map<string, number[]>();
  for (const [id, { image, segmentation }] of truths) {
    const mask = masks.get(id);
    if (!mask) {
      refuse(
        { source: `'${resultsFile}'`, record: `annotation_id ${id}`, field: '', problem: 'expected a mask, got none' },
        onBad,
      );
      continue;
    }
    const ious = images.get(image) ?? [];
    ious.push(rleIou(mask, segmentation));
    images.set(image, ious);
  }
  if (images.size === 0) throw new Error(`'${resultsFile}': expected masks of annotations, got none`);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const ious = [...images.values()];
  const numbers = {
    miou: mean(ious.map(mean)),
    miou_over_masks: mean(ious.flat()),
    images: images.size,
    masks: ious.flat().length,
  };
  if (options.json) return JSON.stringify({ ...numbers, skipped: bad }, null, 2);
  const lines = [
    `mIoU ${numbers.miou.toFixed(4)} (mean within each of ${numbers.images} images, then over images)`,
    `     ${numbers.miou_over_masks.toFixed(4)} (over ${numbers.masks} masks)`,
  ];
  return [...lines, ...skippedLines(bad)].join('\n');
}

/** The annotations by id, without crowds: of a folder in SA-1B's form, or a COCO instances file. */
async function readTruths(truthPath: string, onBad: OnBad | undefined): Promise<Map<number, Truth>> {
  const truths = new Map<number, Truth>();
  const isFolder = (await stat(truthPath).catch(() => undefined))?.isDirectory() ?? false;
  if (!isFolder) {
    const { annotations } = await readGroundTruth(truthPath, { ...(onBad && { onBad }) });
    for (const { id, imageId, crowd, segmentation } of annotations) {
      if (!crowd) truths.set(id, { image: String(imageId), segmentation: segmentation! });
    }
    return truths;
  }
  for await (const { name, annotations } of readSa1b(truthPath, { ...(onBad && { onBad }) })) {
    for (const { id, segmentation } of annotations) {
      if (truths.has(id)) {
        refuse(
          {
            source: `'${truthPath}'`,
            record: `${name}, id ${id}`,
            field: 'id',
            problem: 'expected ids that differ in the whole folder, got one twice',
          },
          onBad,
        );
        continue;
      }
      truths.set(id, { image: name, segmentation });
    }
  }
  return truths;
}

async function readMasks(
  file: string,
  { truths, onBad }: { truths: ReadonlyMap<number, Truth>; onBad: OnBad | undefined },
): Promise<Map<number, Rle>> {
  const masks = new Map<number, Rle>();
  for await (const { index, value } of readJsonLists(file, { lists: [''] })) {
    const bad = (field: string, problem: string) =>
      refuse({ source: `'${file}'`, record: `[${index}]`, field, problem }, onBad);
    const parsed = result.safeParse(value);
    if (!parsed.success) {
      bad(parsed.error.issues[0]!.path.join('.'), parsed.error.issues[0]!.message);
      continue;
    }
    const { annotation_id: id, segmentation } = parsed.data;
    const truth = truths.get(id);
    const size = truth?.segmentation.size;
    if (!size) bad('annotation_id', `expected an annotation's id, got ${id}`);
    else if (masks.has(id)) bad('annotation_id', `expected one mask an annotation, got ${id} again`);
    else if (size[0] !== segmentation.size[0] || size[1] !== segmentation.size[1]) {
      bad('segmentation.size', `expected [${size.join(', ')}], got [${segmentation.size.join(', ')}]`);
    } else {
      try {
        masks.set(id, decompressRle(segmentation));
      } catch (error) {
        bad('segmentation.counts', reason(error).replace(/^\w+: /, ''));
      }
    }
  }
  return masks;
}
