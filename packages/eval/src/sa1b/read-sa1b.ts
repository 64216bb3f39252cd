import { access, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { decompressRle, type Rle } from '../masks/rle.ts';
import { type Sa1bFile, sa1bFile } from './sa1b-format.ts';

/** One mask of an image. */
export interface Sa1bAnnotation {
  readonly id: number;
  /** [x, y, width, height], pixels */
  readonly bbox: readonly [number, number, number, number];
  /** Pixels. */
  readonly area: number;
  /** The prompts that made the mask: [x, y] in pixels; SA-1B has one. */
  readonly pointCoords: readonly (readonly [number, number])[];
  readonly segmentation: Rle;
  readonly predictedIou: number;
  readonly stabilityScore: number;
  /** [x, y, width, height], pixels */
  readonly cropBox: readonly [number, number, number, number];
}

export interface Sa1bImage {
  readonly imagePath: string;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  readonly annotations: readonly Sa1bAnnotation[];
}

/**
 * Reads a folder of SA-1B pairs (`sa_1.json` with `sa_1.jpg`), in the order of the JSON files' names (numbers as numbers), one at a
 * time.
 *
 * @throws when the folder is missing or has no .json file; when a file is not SA-1B JSON (the error names file and field) or its image
 * is missing; when the signal aborts
 */
export async function* readSa1b(
  folder: string,
  { signal }: { readonly signal?: AbortSignal } = {},
): AsyncGenerator<Sa1bImage, void, void> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw new Error(`readSa1b: expected a folder '${folder}', got ${reason(error)}`, { cause: error });
  });
  const files = names
    .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  if (files.length === 0) throw new Error(`readSa1b: expected .json files with images in '${folder}', got none`);
  for (const name of files) {
    signal?.throwIfAborted();
    yield await readPair(folder, name);
  }
}

async function readPair(folder: string, name: string): Promise<Sa1bImage> {
  const file = path.join(folder, name);
  const text = await readFile(file, 'utf8');
  const { image, annotations } = parse(file, text);
  const imagePath = path.join(folder, image.file_name);
  await access(imagePath).catch((error: unknown) => {
    throw new Error(`readSa1b: '${file}' expects an image '${imagePath}', got ${reason(error)}`, { cause: error });
  });
  const { width, height } = image;
  return {
    imagePath,
    width,
    height,
    annotations: annotations.map((_, i) => annotationOf(file, { image, annotations }, i)),
  };
}

function parse(file: string, text: string): Sa1bFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`readSa1b: expected JSON in '${file}', got ${reason(error)}`, { cause: error });
  }
  const result = sa1bFile.safeParse(json);
  if (!result.success) {
    throw new Error(`readSa1b: expected SA-1B annotations in '${file}', got\n${z.prettifyError(result.error)}`);
  }
  return result.data;
}

function annotationOf(file: string, { image, annotations }: Sa1bFile, index: number): Sa1bAnnotation {
  const found = annotations[index]!;
  const field = `'${file}', annotations[${index}].segmentation`;
  const [height, width] = found.segmentation.size;
  if (height !== image.height || width !== image.width) {
    throw new Error(`readSa1b: ${field}.size: expected [${image.height}, ${image.width}], got [${height}, ${width}]`);
  }
  let segmentation: Rle;
  try {
    segmentation = decompressRle(found.segmentation);
  } catch (error) {
    throw new Error(`readSa1b: ${field}.counts: ${reason(error)}`, { cause: error });
  }
  return {
    id: found.id,
    bbox: found.bbox,
    area: found.area,
    pointCoords: found.point_coords,
    segmentation,
    predictedIou: found.predicted_iou,
    stabilityScore: found.stability_score,
    cropBox: found.crop_box,
  };
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
