import { checkFields } from '@slimsam/weights';
import { path, readdir, readFile } from '#node';
import { refuse } from '../coco/bad-record.ts';
import { encodeRle, rleBox, runsArea } from '../masks/rle.ts';
import { optionalPeer } from '../optional-peer.ts';
import type { EvalAnnotation, EvalImage } from './eval-image.ts';
import { byNumber, type ReadImagesOptions } from './read-sa1b.ts';
import { reason } from './sa1b-image.ts';

const picture = /[.](jpe?g|png|webp|tiff?)$/i;

/**
 * Reads a folder of images and one of PNGs with their masks: `masks/cat.png` for `images/cat.jpg`, a mask's name being its image's. Each
 * grey level above 0 is an object, numbered by the level (up to 255; 16-bit PNGs up to 65,535). Decoded by sharp (an optional peer).
 *
 * @throws when a folder is missing or has no image; when an image has no mask, the mask is no PNG of grey levels or of another size; when
 * the signal aborts
 */
export async function* readMaskFolder(
  folders: { readonly images: string; readonly masks: string },
  options: ReadImagesOptions = {},
): AsyncGenerator<EvalImage & { readonly imagePath: string }, void, void> {
  checkFields('readMaskFolder', { options }, { options: 'object?' });
  checkFields('readMaskFolder', folders, { images: 'string', masks: 'string' });
  const { onBad, signal } = options;
  const { default: sharp } = await optionalPeer('readMaskFolder', 'sharp', () => import('sharp'));
  const names = await readdir(folders.images).catch((error: unknown) => {
    throw new Error(`readMaskFolder: expected a folder '${folders.images}', got ${reason(error)}`, { cause: error });
  });
  const images = names.filter((name) => picture.test(name) && !name.startsWith('.')).sort(byNumber);
  if (images.length === 0) throw new Error(`readMaskFolder: expected images in '${folders.images}', got none`);
  for (const [index, name] of images.entries()) {
    signal?.throwIfAborted();
    const imagePath = path.join(folders.images, name);
    const maskPath = path.join(folders.masks, name.replace(picture, '.png'));
    try {
      const { width, height } = await sharp(imagePath).metadata();
      const { data, info } = await sharp(maskPath)
        .toColourspace('grey16')
        .raw({ depth: 'ushort' })
        .toBuffer({ resolveWithObject: true });
      const depth = (await sharp(maskPath).metadata()).depth === 'ushort' ? 1 : 257;
      if (info.channels !== 1) throw new Error(`expected grey levels, got ${info.channels} channels`);
      if (info.width !== width || info.height !== height) {
        throw new Error(`expected ${width} x ${height} pixels as the image has, got ${info.width} x ${info.height}`);
      }
      const levels = new Uint16Array(data.buffer, data.byteOffset, data.length / 2);
      yield {
        id: index + 1,
        name,
        width,
        height,
        imagePath,
        bytes: async () => new Uint8Array(await readFile(imagePath)),
        annotations: objectsOf(levels, { width, height, depth }),
      };
    } catch (error) {
      refuse({ source: 'readMaskFolder', record: `'${name}'`, field: maskPath, problem: reason(error) }, onBad);
    }
  }
}

function objectsOf(
  levels: Uint16Array,
  { width, height, depth }: { width: number; height: number; depth: number },
): EvalAnnotation[] {
  const found = new Set(levels);
  found.delete(0);
  return [...found]
    .sort((a, b) => a - b)
    .map((level) => {
      const mask = Uint8Array.from(levels, (value) => (value === level ? 1 : 0));
      const segmentation = encodeRle(mask, { width, height });
      const id = Math.round(level / depth);
      return { id, bbox: rleBox(segmentation), area: runsArea(segmentation.counts), segmentation };
    });
}
