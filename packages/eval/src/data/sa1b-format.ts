import * as z from 'zod';

const box = z.tuple([z.number(), z.number(), z.number().min(0), z.number().min(0)]);
const size = z.int().positive();

type Box = [x: number, y: number, width: number, height: number];

/** One JSON file of SA-1B: the image's facts and its annotations; own data may have no predicted IoU, stability score or crop box. */
export interface Sa1bFile {
  image: { image_id: number; width: number; height: number; file_name: string };
  annotations: {
    id: number;
    bbox: Box;
    area: number;
    /** [height, width]; run lengths as numbers or as pycocotools' string */
    segmentation: { size: [number, number]; counts: string | number[] };
    predicted_iou?: number | undefined;
    point_coords: [number, number][];
    stability_score?: number | undefined;
    crop_box?: Box | undefined;
  }[];
}

/** Checks a file; fields beyond these are let pass. */
export const sa1bFile: z.ZodType<Sa1bFile> = z.object({
  image: z.object({
    image_id: z.int(),
    width: size,
    height: size,
    file_name: z.string().regex(/^(?!\.{1,2}$)[^/\\\0]+$/, 'expected the name of a file in the same folder'),
  }),
  annotations: z.array(
    z.object({
      id: z.int(),
      bbox: box,
      area: z.number().nonnegative(),
      segmentation: z.object({
        size: z.tuple([size, size]),
        counts: z.union([z.string(), z.array(z.int().nonnegative())], {
          error: 'expected a string or an array of run lengths',
        }),
      }),
      predicted_iou: z.number().optional(),
      point_coords: z.array(z.tuple([z.number(), z.number()])).min(1),
      stability_score: z.number().optional(),
      crop_box: box.optional(),
    }),
  ),
});
