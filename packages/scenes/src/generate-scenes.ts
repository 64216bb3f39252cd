import path from 'node:path';
import { compressRle, encodeRle, type Sa1bFile } from '@slimsam/eval';
import { checkFields, makeFolder, writeFileAtomic } from '@slimsam/weights';
import sharp from 'sharp';
import { generateScene, type Scene } from './scene.ts';

export interface ScenesOptions {
  /** Made where missing; files of the same names are replaced. */
  readonly folder: string;
  readonly count: number;
  /** Sets of different seeds share no scene. */
  readonly seed: number;
  /** Side in pixels; 256 unless given. */
  readonly size?: number;
  /** Least and most objects; 3 to 8 unless given. */
  readonly objects?: readonly [number, number];
  /** Of the JPEG files, [1, 100]; 92 unless given. */
  readonly quality?: number;
  readonly signal?: AbortSignal;
  readonly onScene?: (progress: { readonly done: number; readonly count: number; readonly imagePath: string }) => void;
}

/**
 * Writes synthetic scenes as SA-1B pairs `sa_1.jpg`, `sa_1.json` to `sa_N`: the same bytes for the same options. A JSON file appears only
 * once its image is whole.
 *
 * @throws when count is not a whole number of at least 1, a file cannot be written, or the signal aborts
 */
export async function generateScenes(options: ScenesOptions): Promise<{ images: number; annotations: number }> {
  checkFields('generateScenes', { options }, { options: 'object' });
  const { folder, count, seed, size = 256, objects, quality = 92, signal, onScene } = options;
  if (!Number.isInteger(count) || count < 1)
    throw new Error(`generateScenes: expected a count of at least 1, got ${count}`);
  await makeFolder(folder);
  let annotations = 0;
  for (let number = 1; number <= count; number++) {
    signal?.throwIfAborted();
    const scene = generateScene(sceneSeed(seed, number), { width: size, height: size, ...(objects && { objects }) });
    const raw = { width: size, height: size, channels: 3 } as const;
    const jpeg = await sharp(scene.image.data, { raw }).jpeg({ quality, chromaSubsampling: '4:4:4' }).toBuffer();
    const imagePath = path.join(folder, `sa_${number}.jpg`);
    await writeFileAtomic(imagePath, jpeg);
    await writeFileAtomic(path.join(folder, `sa_${number}.json`), JSON.stringify(fileOf(scene, number)));
    annotations += scene.annotations.length;
    onScene?.({ done: number, count, imagePath });
  }
  return { images: count, annotations };
}

/** Neighbouring seeds must not give the same scenes shifted by one: steps of the golden ratio lie far apart. */
function sceneSeed(seed: number, number: number): number {
  return (Math.imul(seed, 0x9e3779b1) + number) | 0;
}

function fileOf({ image, annotations }: Scene, number: number): Sa1bFile {
  const { width, height } = image;
  return {
    image: { image_id: number, width, height, file_name: `sa_${number}.jpg` },
    annotations: annotations.map(({ mask, bbox, area, point }, index) => {
      const { counts } = compressRle(encodeRle(mask, { width, height }));
      return {
        id: number * 1000 + index,
        bbox,
        area,
        segmentation: { size: [height, width], counts },
        predicted_iou: 1,
        point_coords: [point],
        stability_score: 1,
        crop_box: [0, 0, width, height],
      };
    }),
  };
}
