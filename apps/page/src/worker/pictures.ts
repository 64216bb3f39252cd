import { generateScene } from '@slimsam/scenes';
import { decodeImage, type RgbImage } from '@slimsam/vit/images';
import { checkPixels } from './most-pixels.ts';

/** A picture to segment: a file, or a drawn scene. */
export type PictureSource = { readonly blob: Blob } | { readonly scene: number };

/** Pixels of the longest side that the page works with; larger photographs are scaled down to it. */
const longest = 2048;

/** @throws when it is no picture that this browser decodes, or too large */
export async function readPicture(source: PictureSource): Promise<RgbImage> {
  if ('scene' in source) return generateScene(source.scene, { width: 384, height: 256, objects: [3, 5] }).image;
  const { blob } = source;
  await refuseUndecodable(blob);
  const image = await decodeImage(blob);
  checkPixels(image);
  const scale = longest / Math.max(image.width, image.height);
  return scale < 1 ? scaled(blob, { width: image.width, height: image.height, scale }) : image;
}

/** @throws for HEIC where the browser has no decoder, which the browsers' own words do not say */
async function refuseUndecodable(blob: Blob): Promise<void> {
  const head = new TextDecoder('latin1').decode(await blob.slice(4, 12).arrayBuffer());
  if (!/^ftyp(heic|heix|hevc|hevx|mif1|msf1)/.test(head)) return;
  const bitmap = await createImageBitmap(blob).catch(() => undefined);
  bitmap?.close();
  if (!bitmap)
    throw new Error(
      'picture: expected JPEG, PNG, WebP or AVIF, got HEIC, which this browser does not decode; save it as JPEG',
    );
}

async function scaled(blob: Blob, size: { width: number; height: number; scale: number }): Promise<RgbImage> {
  const [width, height] = [size.width, size.height].map((side) => Math.max(1, Math.round(side * size.scale)));
  const bitmap = await createImageBitmap(blob, {
    ...{ imageOrientation: 'from-image', colorSpaceConversion: 'none' },
    ...{ resizeWidth: width!, resizeHeight: height!, resizeQuality: 'high' },
  });
  try {
    const canvas = new OffscreenCanvas(width!, height!);
    canvas.getContext('2d', { willReadFrequently: true })!.drawImage(bitmap, 0, 0);
    return await decodeImage(canvas);
  } finally {
    bitmap.close();
  }
}

/** For the page to draw. */
export function toBitmap({ width, height, data }: RgbImage): Promise<ImageBitmap> {
  const pixels = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    pixels.data[4 * i] = data[3 * i]!;
    pixels.data[4 * i + 1] = data[3 * i + 1]!;
    pixels.data[4 * i + 2] = data[3 * i + 2]!;
    pixels.data[4 * i + 3] = 255;
  }
  return createImageBitmap(pixels);
}

/** Lossless. */
export async function toPng(image: RgbImage): Promise<Blob> {
  const bitmap = await toBitmap(image);
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.convertToBlob({ type: 'image/png' });
}
