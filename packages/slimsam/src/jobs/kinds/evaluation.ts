import {
  type BadRecord,
  type CocoCategory,
  type CocoImage,
  type CompressedRle,
  compressRle,
  decompressRle,
  type EvalAnnotation,
  type EvalImage,
  type Protocol,
  type Rle,
} from '@slimsam/eval';
import { z } from 'zod';
import { hashSchema } from '../job.ts';
import { getBlob, getJson, putBlob } from '../store/blobs.ts';
import type { Store } from '../store/store.ts';

const box = z.tuple([z.number(), z.number(), z.number(), z.number()]);

const settingSchema = z.strictObject({
  protocol: z.discriminatedUnion('name', [
    z.strictObject({ name: z.enum(['points', 'boxes', 'best-of-three', 'edges']) }),
    z.strictObject({ name: z.literal('clicks'), clicks: z.int().positive() }),
    z.strictObject({
      name: z.literal('instances'),
      rules: z.enum(['coco', 'lvis']),
      boxes: z
        .array(z.tuple([z.int(), z.array(z.strictObject({ categoryId: z.int(), box, score: z.number() }))]))
        .optional(),
    }),
  ]),
  model: z.strictObject({ name: z.string(), weights: z.string() }),
  groundTruth: z
    .strictObject({
      categories: z.array(z.looseObject({ id: z.int() })),
      images: z.array(z.looseObject({ id: z.int() })),
    })
    .optional(),
  /** Records that the readers left out. */
  bad: z.array(z.strictObject({ source: z.string(), record: z.string(), field: z.string(), problem: z.string() })),
  /** Bad images are left out, rather than an error. */
  skipBad: z.boolean(),
});

/** What all shards of an evaluation share. */
export interface Setting {
  readonly protocol: Protocol;
  readonly model: { readonly name: string; readonly weights: string };
  readonly groundTruth?: { readonly categories: readonly CocoCategory[]; readonly images: readonly CocoImage[] };
  readonly bad: readonly BadRecord[];
  readonly skipBad: boolean;
}

/** Keeps a setting. @returns its blob's hash */
export function putSetting(store: Store, { protocol, ...rest }: Setting): Promise<string> {
  const sent = 'boxes' in protocol && protocol.boxes ? { ...protocol, boxes: [...protocol.boxes] } : protocol;
  return putBlob(store, JSON.stringify({ ...rest, protocol: sent }));
}

/** @throws when the blob is missing or none */
export async function getSetting(store: Store, hash: string): Promise<Setting> {
  const setting = await getJson(store, hash, { schema: settingSchema, what: 'what an evaluation takes' });
  const { protocol, ...rest } = setting;
  const { boxes, ...own } = 'boxes' in protocol ? protocol : { ...protocol, boxes: undefined };
  return { ...rest, protocol: { ...own, ...(boxes && { boxes: new Map(boxes) }) } } as Setting;
}

const imageSchema = z.looseObject({
  id: z.int(),
  name: z.string(),
  width: z.int().positive(),
  height: z.int().positive(),
  imagePath: z.string().optional(),
  annotations: z.array(
    z.looseObject({
      id: z.int(),
      bbox: box,
      pointCoords: z.array(z.tuple([z.number(), z.number()])).optional(),
      segmentation: z.strictObject({ size: z.tuple([z.int(), z.int()]), counts: z.string() }),
    }),
  ),
  file: hashSchema,
  boundaries: z.array(hashSchema).optional(),
});

/** Keeps an image and what is known of it. @returns the blob's hash of both together */
export async function putImage(store: Store, image: EvalImage): Promise<string> {
  const { bytes, annotations, boundaries, ...facts } = image;
  const about = annotations.map(({ segmentation, ...rest }) => ({ ...rest, segmentation: compressRle(segmentation) }));
  const drawn = boundaries && (await Promise.all(boundaries.map((one) => putBlob(store, one))));
  const file = await putBlob(store, await bytes());
  return putBlob(store, JSON.stringify({ ...facts, annotations: about, file, ...(drawn && { boundaries: drawn }) }));
}

/** An image of the store, with the points that SA-1B's format has. */
interface StoredImage extends EvalImage {
  readonly annotations: readonly (EvalAnnotation & {
    readonly segmentation: Rle;
    readonly pointCoords?: readonly (readonly [x: number, y: number])[];
  })[];
}

async function getImage(store: Store, hash: string): Promise<StoredImage> {
  const text = Buffer.from(await getBlob(store, hash)).toString('utf8');
  const raw: unknown = JSON.parse(text);
  const { file, boundaries } = imageSchema.parse(raw);
  // what was checked, but with its keys in their own order, of which the data's hash depends
  const image = raw as Omit<EvalImage, 'bytes' | 'annotations'> & {
    readonly annotations: readonly (Omit<StoredImage['annotations'][number], 'segmentation'> & {
      readonly segmentation: CompressedRle;
    })[];
  };
  const annotations = image.annotations.map(({ segmentation, ...rest }) => ({
    ...rest,
    segmentation: decompressRle(segmentation),
  }));
  const drawn = boundaries && (await Promise.all(boundaries.map((one) => getBlob(store, one))));
  const { id, name, width, height, imagePath } = image;
  return {
    ...{ id, name, width, height, annotations },
    ...(drawn && { boundaries: drawn }),
    ...(imagePath !== undefined && { imagePath }), // a name in messages: the bytes are those of the blob
    bytes: () => getBlob(store, file),
  };
}

/** The images of a shard, by number. */
interface Shard {
  /** Of the whole set. */
  readonly total: number;
  readonly images: readonly { readonly index: number; readonly image: string }[];
}

const shardSchema: z.ZodType<Shard> = z.strictObject({
  total: z.int().positive(),
  images: z.array(z.strictObject({ index: z.int().min(0), image: hashSchema })),
});

/** Keeps the list of a shard's images. @returns its blob's hash */
export const putShard = (store: Store, shard: Shard): Promise<string> => putBlob(store, JSON.stringify(shard));

/** All images of a set by number, of which only those of the shard are read: the others are names without content. */
export async function* imagesOfShard(store: Store, hash: string): AsyncGenerator<StoredImage> {
  const { total, images } = await getJson(store, hash, { schema: shardSchema, what: 'a shard of images' });
  const own = new Map(images.map(({ index, image }) => [index, image]));
  const other: StoredImage = {
    ...{ id: 0, name: 'of another shard', width: 1, height: 1, annotations: [] },
    bytes: () => Promise.reject(new Error('evaluate: expected an image of this shard, got one of another')),
  };
  for (let index = 0; index < total; index++) {
    const image = own.get(index);
    yield image === undefined ? other : await getImage(store, image);
  }
}
