import { withoutAlpha } from './image-pixels.ts';
import type { DecodeHow, ImageSource } from './image-source.ts';
import { checkRasterFormat } from './raster-format.ts';
import type { RgbImage } from './rgb-image.ts';

/** Decodes with the browser's own decoders: see `decodeImage`. A string is an address. */
export async function decodePixels(source: ImageSource, { scaleByMaximum }: DecodeHow): Promise<RgbImage> {
  const blob = await toBlob(source);
  const start = new Uint8Array(await blob.slice(0, 200).arrayBuffer());
  checkRasterFormat(start);
  if (scaleByMaximum && start[0] === 0x89 && start[24] === 16)
    throw new Error('16 bits a value, which only Node scales');
  const bitmap = await createImageBitmap(blob, {
    imageOrientation: 'from-image',
    colorSpaceConversion: 'none',
    premultiplyAlpha: 'none',
  });
  try {
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    if (!context) throw new Error(`no canvas of ${width} x ${height} pixels`);
    context.drawImage(bitmap, 0, 0);
    return { width, height, data: withoutAlpha(context.getImageData(0, 0, width, height).data) };
  } finally {
    bitmap.close();
  }
}

async function toBlob(source: ImageSource): Promise<Blob> {
  if (source instanceof Blob) return source;
  if (source instanceof Uint8Array) return new Blob([new Uint8Array(source)]); // a copy that is not shared memory
  if (typeof source !== 'string' && !(source instanceof URL))
    throw new Error('a part of a file, which only Node reads');
  const response = await fetch(source);
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.blob();
}
