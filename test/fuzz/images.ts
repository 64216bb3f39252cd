import sharp, { type Sharp } from 'sharp';
import type { Random } from './random.ts';

/** Pixels that differ, to be encoded. */
export function pixels({ width, height }: { width: number; height: number }, channels: 1 | 2 | 3 | 4 = 3): Sharp {
  const data = Buffer.from(Array.from({ length: width * height * channels }, (_, i) => (i * 37 + (i >> 5)) & 255));
  const image = sharp(data, { raw: { width, height, channels } });
  return channels < 3 ? image.toColourspace('b-w') : image;
}

/** A small image of any of a format's kinds. */
export async function validImage(
  format: 'jpeg' | 'png' | 'webp' | 'gif' | 'tiff' | 'avif',
  random: Random,
): Promise<Uint8Array> {
  const flag = () => random(2) === 0;
  const channels = ([3, 3, 4, 1, 2] as const)[random(5)]!;
  const image = pixels({ width: 1 + random(40), height: 1 + random(40) }, channels);
  if (flag()) image.withMetadata({ orientation: 1 + random(8) });
  const quality = 1 + random(99);
  switch (format) {
    case 'jpeg': {
      const chromaSubsampling = flag() ? '4:4:4' : '4:2:0';
      const cmyk = channels === 3 && random(4) === 0 ? image.toColourspace('cmyk') : image;
      return cmyk.jpeg({ quality, progressive: flag(), chromaSubsampling }).toBuffer();
    }
    case 'png':
      if (channels === 3 && random(4) === 0) image.toColourspace('rgb16');
      return image.png({ palette: flag(), progressive: flag(), compressionLevel: random(10) }).toBuffer();
    case 'webp':
      return image.webp({ quality, lossless: flag() }).toBuffer();
    case 'gif':
      return image.gif({ colours: 2 + random(255), interFrameMaxError: 0 }).toBuffer();
    case 'avif':
      return image.avif({ quality, effort: 0 }).toBuffer();
    case 'tiff': {
      const compression = (['none', 'lzw', 'deflate', 'packbits', 'jpeg'] as const)[random(5)]!;
      return image.tiff({ compression, tile: flag(), pyramid: false, bigtiff: flag(), quality }).toBuffer();
    }
  }
}
