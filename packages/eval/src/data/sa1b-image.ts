import * as z from 'zod';
import { createHash } from '#node';
import { type BadRecord, type OnBad, refuse } from '../coco/bad-record.ts';
import { decompressRle, type Rle } from '../masks/rle.ts';
import type { EvalAnnotation, EvalImage } from './eval-image.ts';
import { type Sa1bFile, sa1bFile } from './sa1b-format.ts';

/** One mask of an image. */
export interface Sa1bAnnotation extends EvalAnnotation {
  /** The prompts that made the mask: [x, y] in pixels; SA-1B has one. */
  readonly pointCoords: readonly (readonly [number, number])[];
  readonly segmentation: Rle;
  readonly predictedIou?: number | undefined;
  readonly stabilityScore?: number | undefined;
  /** [x, y, width, height], pixels */
  readonly cropBox?: readonly [number, number, number, number] | undefined;
}

/** An image with its JSON file. */
export interface Sa1bImage extends EvalImage {
  readonly annotations: readonly Sa1bAnnotation[];
  readonly imagePath: string;
}

/** The same in an archive. */
export type PackedSa1bImage = Omit<Sa1bImage, 'imagePath'>;

/** Reads a JSON file's text. @throws when it is not SA-1B JSON; unless onBad receives it, then undefined is given back */
export function parseSa1b(source: string, text: string, onBad?: OnBad): Sa1bFile | undefined {
  const bad = (field: string, problem: string) =>
    refuse({ source: `readSa1b: '${source}'`, record: '', field, problem }, onBad);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    bad('', `expected JSON, got ${reason(error)}`);
    return undefined;
  }
  const result = sa1bFile.safeParse(json);
  if (result.success) return result.data;
  const { issues } = result.error;
  const first = z.prettifyError({ issues: issues.slice(0, 3) }).replaceAll('received undefined', 'received none');
  const more = issues.length > 3 ? `\nand ${issues.length - 3} more` : '';
  bad('', `expected SA-1B annotations, got\n${first}${more}`);
  return undefined;
}

/** The image of a checked file. Annotations whose masks are broken are refused one by one. */
export function sa1bImage(
  source: string,
  { image, annotations }: Sa1bFile,
  { onBad, ...file }: Pick<EvalImage, 'bytes'> & { readonly onBad?: OnBad | undefined },
): PackedSa1bImage {
  const { width, height } = image;
  const ids = new Set<number>();
  const kept = annotations.flatMap((found, index): Sa1bAnnotation[] => {
    const bad = (field: string, problem: string): [] => {
      const record: BadRecord = {
        source: `readSa1b: '${source}'`,
        record: `annotations[${index}], id ${found.id}`,
        field,
        problem,
      };
      refuse(record, onBad);
      return [];
    };
    if (ids.has(found.id)) return bad('id', `expected ids that differ, got ${found.id} again`);
    ids.add(found.id);
    const [rows, columns] = found.segmentation.size;
    if (rows !== height || columns !== width) {
      return bad('segmentation.size', `expected [${height}, ${width}], got [${rows}, ${columns}]`);
    }
    const outside = found.point_coords.find(([x, y]) => !(x >= 0 && y >= 0 && x < width && y < height));
    if (outside)
      return bad('point_coords', `expected points in ${width} x ${height} pixels, got [${outside.join(', ')}]`);
    for (const field of ['bbox', 'crop_box'] as const) {
      const box = found[field];
      if (box && !isWithin(box, image))
        return bad(field, `expected a box in ${width} x ${height} pixels, got [${box.join(', ')}]`);
    }
    if (found.area > width * height)
      return bad('area', `expected at most the image’s ${width * height} pixels, got ${found.area}`);
    try {
      return [annotationOf(found)];
    } catch (error) {
      return bad('segmentation.counts', reason(error).replace(/^\w+: /, ''));
    }
  });
  return { id: image.image_id, name: image.file_name, width, height, annotations: kept, ...file };
}

/** Whether a box lies in the image, but for a pixel: writers count the last row and column differently. */
function isWithin([x, y, w, h]: readonly number[], { width, height }: { width: number; height: number }): boolean {
  return x! >= -1 && y! >= -1 && x! + w! <= width + 1 && y! + h! <= height + 1;
}

function annotationOf(found: Sa1bFile['annotations'][number]): Sa1bAnnotation {
  return {
    id: found.id,
    bbox: found.bbox,
    area: found.area,
    pointCoords: found.point_coords,
    segmentation: decompressRle(found.segmentation),
    predictedIou: found.predicted_iou,
    stabilityScore: found.stability_score,
    cropBox: found.crop_box,
  };
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** SHA-256 of bytes or text, hexadecimal. */
export function sha256(data: Uint8Array | string): string {
  return createHash('sha256').update(data).digest('hex');
}
