import type { RasterToEncode } from './rgb-image.ts';

/** A PNG of 8-bit grey or RGB pixels, by sharp. */
export async function encodePng({ width, height, data }: RasterToEncode): Promise<Uint8Array<ArrayBuffer>> {
  const { default: sharp } = await import('sharp');
  const channels = data.length === width * height ? 1 : 3;
  const image = sharp(data, { raw: { width, height, channels } }).toColourspace(channels === 1 ? 'b-w' : 'srgb');
  return new Uint8Array(await image.png().toBuffer());
}
