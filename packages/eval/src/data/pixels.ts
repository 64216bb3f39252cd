import { checkFields } from '@slimsam/weights';
import type { RgbImage } from '../image.ts';
import { optionalPeer } from '../optional-peer.ts';
import type { EvalImage } from './eval-image.ts';

/**
 * The image's pixels, decoded by sharp (an optional peer).
 *
 * @throws when it is no image, or its size is not what the data states
 */
export async function readPixels(image: Pick<EvalImage, 'name' | 'width' | 'height' | 'bytes'>): Promise<RgbImage> {
  checkFields('readPixels', image, { name: 'string', width: 'number', height: 'number', bytes: 'function' });
  const { default: sharp } = await optionalPeer('readPixels', 'sharp', () => import('sharp'));
  const { data, info } = await sharp(await image.bytes())
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true })
    .catch((error: unknown) => {
      throw new Error(`'${image.name}': expected an image, got ${String(error)}`, { cause: error });
    });
  if (info.width !== image.width || info.height !== image.height) {
    throw new Error(
      `'${image.name}': width, height: expected ${image.width} x ${image.height} as the annotations state, got ${info.width} x ${info.height}`,
    );
  }
  return { width: info.width, height: info.height, data };
}
