import type { Sharp } from 'sharp';
import { decodeBmp } from './bmp.ts';
import type { DecodeHow, ImageSource } from './image-source.ts';
import { checkRasterFormat, rasterFormatOf } from './raster-format.ts';
import { readDeep } from './read-deep.ts';
import type { RgbImage } from './rgb-image.ts';

/** Decodes with sharp: see `decodeImage`. A string is a file's path. */
export async function decodePixels(source: ImageSource, how: DecodeHow): Promise<RgbImage> {
  const { mostPixels } = how;
  const bytes = await bytesOf(source);
  checkRasterFormat(bytes);
  if (rasterFormatOf(bytes) === 'BMP') return decodeBmp(bytes, mostPixels);
  const { default: sharp } = await import('sharp');
  const image = sharp(bytes, { failOn: 'truncated', ignoreIcc: true, limitInputPixels: false }).autoOrient();
  const { width, height, space, depth } = await image.metadata();
  if (width * height > mostPixels) {
    throw new Error(
      `${width} x ${height} pixels, more than ${mostPixels} in all; shrink or cut it, or allow more by mostPixels`,
    );
  }
  if (space === 'cmyk') {
    return fromCmyk(await read(image.pipelineColourspace('cmyk').toColourspace('cmyk')));
  }
  if (depth !== 'uchar') return readDeep(image, { ...how, depth, space });
  return read(image.removeAlpha().toColourspace('srgb'));
}

async function bytesOf(source: ImageSource): Promise<Uint8Array> {
  if (source instanceof Uint8Array) return source;
  if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
  const { readFilePart } = await import('./read-file-part.ts');
  return readFilePart(typeof source === 'string' || source instanceof URL ? { path: source } : source);
}

async function read(image: Sharp): Promise<RgbImage> {
  const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
}

/** Pillow's conversion: red is what cyan and black let through. [height, width, 4] -> [height, width, 3] */
function fromCmyk({ width, height, data: cmyk }: RgbImage): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const light = 255 - cmyk[4 * i + 3]!;
    for (let c = 0; c < 3; c++) data[3 * i + c] = Math.round(((255 - cmyk[4 * i + c]!) * light) / 255);
  }
  return { width, height, data };
}
