import * as z from 'zod';

/** Records of COCO and LVIS instances files and of results files; fields beyond these are let pass. */
const id = z.int();
const side = z.int().positive();
const finite = z.number(); // zod refuses NaN and infinities

const box: z.ZodType<[number, number, number, number]> = z.tuple([finite, finite, finite.min(0), finite.min(0)]);

const segmentation = z.union(
  [
    z.array(z.array(finite)),
    z.object({ size: z.tuple([side, side]), counts: z.union([z.string(), z.array(z.int().nonnegative())]) }),
  ],
  { error: 'expected polygons, or an object with size and counts' },
);

export const imageRecord: z.ZodType<{
  id: number;
  width: number;
  height: number;
  file_name?: string | undefined;
  coco_url?: string | undefined;
  neg_category_ids?: number[] | undefined;
  not_exhaustive_category_ids?: number[] | undefined;
}> = z.object({
  id,
  width: side,
  height: side,
  file_name: z.string().optional(),
  coco_url: z.string().optional(),
  neg_category_ids: z.array(id).optional(),
  not_exhaustive_category_ids: z.array(id).optional(),
});

export const categoryRecord: z.ZodType<{
  id: number;
  name?: string | undefined;
  frequency?: 'r' | 'c' | 'f' | undefined;
}> = z.object({ id, name: z.string().optional(), frequency: z.enum(['r', 'c', 'f']).optional() });

/** 0, 1, false or true. */
const mark = z.union([z.literal(0), z.literal(1), z.boolean()], { error: 'expected 0, 1, true or false' });

type SegmentationRecord = number[][] | { size: [number, number]; counts: string | number[] };

export interface AnnotationRecord {
  id: number;
  image_id: number;
  category_id: number;
  area: number;
  bbox?: [number, number, number, number] | undefined;
  segmentation?: SegmentationRecord | undefined;
  iscrowd?: 0 | 1 | boolean | undefined;
  ignore?: 0 | 1 | boolean | undefined;
}

export const annotationRecord: z.ZodType<AnnotationRecord> = z.object({
  id,
  image_id: id,
  category_id: id,
  area: finite.min(0),
  bbox: box.optional(),
  segmentation: segmentation.optional(),
  iscrowd: mark.optional(),
  ignore: mark.optional(),
});

export interface DetectionRecord {
  image_id: number;
  category_id: number;
  score: number;
  bbox?: [number, number, number, number] | undefined;
  segmentation?: SegmentationRecord | undefined;
}

const noBox = z.tuple([]).transform(() => undefined); // pycocotools reads [] as no box

export const detectionRecord: z.ZodType<DetectionRecord> = z.object({
  image_id: id,
  category_id: id,
  score: finite,
  bbox: z.union([box, noBox], { error: 'expected a box [x, y, width, height]' }).optional(),
  segmentation: segmentation.optional(),
});
