import type * as z from 'zod';
import { boxRle, type Segmentation, segmentationRle } from '../masks/polygon.ts';
import { type AnyRle, compressRle, type MaskSize, type Rle, rleBox, runsArea } from '../masks/rle.ts';
import { type BadRecord, type OnBad, refuse } from './bad-record.ts';
import {
  type AnnotationRecord,
  annotationRecord,
  categoryRecord,
  type DetectionRecord,
  detectionRecord,
  imageRecord,
} from './coco-format.ts';
import type { Box, CocoCategory, CocoDetection, CocoImage, CocoInstance, GroundTruth } from './instances.ts';

export interface ReadOptions {
  /** For messages: the file's name. */
  readonly source?: string;
  /** What the masks are for: 'bbox' leaves them out. 'segm' unless given. */
  readonly type?: 'segm' | 'bbox' | 'boundary';
  /** Receives records that are wrong and left out; without it the first one is an error. */
  readonly onBad?: OnBad;
}

/** Images have at most this many pixels: 2^30, a gigabyte of mask. */
const mostPixels = 2 ** 30;

/** Says where a record stands: 'annotations[3], id 17'. */
function named(list: string, index: number, raw: unknown): string {
  const id = typeof raw === 'object' && raw !== null && 'id' in raw ? raw.id : undefined;
  return `${list}[${index}]${typeof id === 'number' ? `, id ${id}` : ''}`;
}

class Wrong extends Error {
  readonly field: string;
  constructor(field: string, problem: string) {
    super(problem);
    this.field = field;
  }
}

/** Runs `body`; what is wrong with the record is handed on. */
function checked<T>(at: Omit<BadRecord, 'field' | 'problem'>, onBad: OnBad | undefined, body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    refuse({ ...at, field: error.field, problem: error.message }, onBad);
    return undefined;
  }
}

function parsed<T>(schema: z.ZodType<T>, raw: unknown): T {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const text = issue.message
    .replace(/^Invalid input: /, '')
    .replace(/, received /, ', got ')
    .replace('got undefined', 'got none');
  throw new Wrong(
    issue.path
      .map((part, i) => (typeof part === 'number' ? `[${part}]` : i > 0 ? `.${String(part)}` : String(part)))
      .join(''),
    text,
  );
}

/** Calls `body`, whose errors are of `field`. */
function inField<T>(field: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw new Wrong(field, (error instanceof Error ? error.message : String(error)).replace(/^\w+: /, ''));
  }
}

/** Checks the records of a ground truth one after another; images and categories come before the annotations. */
export interface GroundTruthChecker {
  readonly images: Map<number, CocoImage>;
  readonly categories: Map<number, CocoCategory>;
  image(raw: unknown, index: number): CocoImage | undefined;
  category(raw: unknown, index: number): CocoCategory | undefined;
  /** Its mask, unless for boxes, compressed. */
  annotation(raw: unknown, index: number): CocoInstance | undefined;
}

export function groundTruthChecker({ source = 'ground truth', type = 'segm', onBad }: ReadOptions): GroundTruthChecker {
  const images = new Map<number, CocoImage>();
  const categories = new Map<number, CocoCategory>();
  const ids = new Set<number>();
  const record = <T>(list: string, index: number, raw: unknown, body: () => T): T | undefined =>
    checked({ source, record: named(list, index, raw) }, onBad, body);
  const sizes = new Map<string, MaskSize>();
  return {
    images,
    categories,
    image: (raw, index) =>
      record('images', index, raw, () => {
        const found = parsed(imageRecord, raw);
        if (images.has(found.id)) throw new Wrong('id', `expected ids that differ, got ${found.id} again`);
        if (found.width * found.height > mostPixels) {
          throw new Wrong('width', `expected at most ${mostPixels} pixels, got ${found.width} x ${found.height}`);
        }
        const image: CocoImage = {
          id: found.id,
          width: found.width,
          height: found.height,
          fileName: found.file_name ?? found.coco_url?.split('/').at(-1) ?? '',
          absent: found.neg_category_ids ?? [],
          incomplete: found.not_exhaustive_category_ids ?? [],
        };
        images.set(image.id, image);
        return image;
      }),
    category: (raw, index) =>
      record('categories', index, raw, () => {
        const { id, name = String(id), frequency } = parsed(categoryRecord, raw);
        if (categories.has(id)) throw new Wrong('id', `expected ids that differ, got ${id} again`);
        const category = { id, name, ...(frequency && { frequency }) };
        categories.set(id, category);
        return category;
      }),
    annotation: (raw, index) =>
      record('annotations', index, raw, () => {
        const found = parsed(annotationRecord, raw);
        if (ids.has(found.id)) throw new Wrong('id', `expected ids that differ, got ${found.id} again`);
        const size = sizeOf(found, { images, categories, sizes });
        if (type === 'bbox' && !found.bbox) throw new Wrong('bbox', 'expected a box, got none');
        const mask = type === 'bbox' ? undefined : maskOf(found.segmentation, size);
        ids.add(found.id);
        return instance(found, mask);
      }),
  };
}

function instance(found: AnnotationRecord, mask: Rle | undefined): CocoInstance {
  return {
    id: found.id,
    imageId: found.image_id,
    categoryId: found.category_id,
    area: found.area,
    box: found.bbox ?? (mask ? rleBox(mask) : [0, 0, 0, 0]),
    crowd: Boolean(found.iscrowd),
    ignore: Boolean(found.ignore),
    ...(mask && { segmentation: compressRle(mask) }),
  };
}

/** The size of the record's image, one array for each size. */
function sizeOf(
  { image_id, category_id }: { image_id: number; category_id: number },
  known: {
    images: ReadonlyMap<number, CocoImage>;
    categories: ReadonlyMap<number, CocoCategory>;
    sizes: Map<string, MaskSize>;
  },
): MaskSize {
  const image = known.images.get(image_id);
  if (!image) throw new Wrong('image_id', `expected an id of images, got ${image_id}`);
  if (!known.categories.has(category_id)) {
    throw new Wrong('category_id', `expected an id of categories, got ${category_id}`);
  }
  const key = `${image.height} ${image.width}`;
  const size = known.sizes.get(key) ?? ([image.height, image.width] as const);
  known.sizes.set(key, size);
  return size;
}

function maskOf(segmentation: Segmentation | undefined, size: MaskSize): Rle {
  if (!segmentation) throw new Wrong('segmentation', 'expected polygons or run lengths, got none');
  return { size, counts: inField('segmentation', () => segmentationRle(segmentation, size)).counts };
}

/** Checks the records of a results file one after another. */
export function detectionChecker(
  { images, categories }: Pick<GroundTruth, 'images' | 'categories'>,
  { source = 'detections', type = 'segm', onBad }: ReadOptions,
): (raw: unknown, index: number) => CocoDetection | undefined {
  const known = {
    images: new Map(images.map((image) => [image.id, image])),
    categories: new Map(categories.map((category) => [category.id, category])),
    sizes: new Map<string, MaskSize>(),
  };
  let boxed: boolean | undefined; // pycocotools decides by the first detection
  return (raw, index) =>
    checked({ source, record: named('', index, raw) }, onBad, () => {
      const found = parsed(detectionRecord, raw);
      const size = sizeOf(found, known);
      boxed ??= found.bbox !== undefined;
      if (boxed && !found.bbox) throw new Wrong('bbox', 'expected a box as the first detection has, got none');
      return boxed ? withBox(found, { size, type }) : withMask(found, { size, type });
    });
}

function withBox(
  found: DetectionRecord,
  { size, type }: { size: MaskSize; type: NonNullable<ReadOptions['type']> },
): CocoDetection {
  const box = found.bbox!;
  const mask = (): Rle =>
    found.segmentation ? maskOf(found.segmentation, size) : inField('bbox', () => boxRle(box, size));
  return detection(found, {
    box,
    area: box[2] * box[3],
    ...(type !== 'bbox' && { segmentation: compressRle(mask()) }),
  });
}

function withMask(
  found: DetectionRecord,
  { size, type }: { size: MaskSize; type: NonNullable<ReadOptions['type']> },
): CocoDetection {
  const mask = maskOf(found.segmentation, size);
  return detection(found, {
    box: found.bbox ?? rleBox(mask),
    area: runsArea(mask.counts),
    ...(type !== 'bbox' && { segmentation: compressed(found.segmentation, mask) }),
  });
}

/** The file's own string where it has one. */
function compressed(segmentation: DetectionRecord['segmentation'], mask: Rle): AnyRle {
  const own = segmentation && 'counts' in segmentation && typeof segmentation.counts === 'string';
  return own ? { size: mask.size, counts: segmentation.counts as string } : compressRle(mask);
}

function detection(
  { image_id, category_id, score }: DetectionRecord,
  rest: { box: Box; area: number; segmentation?: AnyRle },
): CocoDetection {
  return { imageId: image_id, categoryId: category_id, score, ...rest };
}
