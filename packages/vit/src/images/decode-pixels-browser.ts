import type { ImageSource, RgbImage } from './image.ts';
import { checkRasterFormat } from './raster-format.ts';

/** Decodes with the browser's own decoders: see `decodeImage`. A string is an address. */
export async function decodePixels(source: ImageSource): Promise<RgbImage> {
  const blob = await toBlob(source);
  checkRasterFormat(new Uint8Array(await blob.slice(0, 16).arrayBuffer()));
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

/** [height, width, 4] -> [height, width, 3] */
function withoutAlpha(rgba: Uint8ClampedArray): Uint8Array {
  const data = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    data[to] = rgba[from]!;
    data[to + 1] = rgba[from + 1]!;
    data[to + 2] = rgba[from + 2]!;
  }
  return data;
}
