import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { RgbImage } from '@slimsam/vit';
import sharp from 'sharp';

/** A smooth picture by a formula; different numbers give different pictures. */
export function picture(number: number, { width = 40, height = 30 } = {}): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    data[i] = 127 + 120 * Math.sin(0.3 * number + (x * (c + 1)) / 9 + (y * (3 - c)) / 11);
  }
  return { width, height, data };
}

/** An image as a file's bytes. */
export function encode({ width, height, data }: RgbImage, format: 'jpeg' | 'png' = 'png'): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .toFormat(format)
    .toBuffer();
}

/** Writes a picture, its folder too. */
export async function writePicture(file: string, number: number): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, await encode(picture(number), /jpe?g$/.test(file) ? 'jpeg' : 'png'));
}
