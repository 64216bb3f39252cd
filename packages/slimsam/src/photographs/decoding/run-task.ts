import { decodeImage, type RgbImage } from '@slimsam/vit/images';
import { type FitImage, fitImage } from '../fit-image.ts';
import { readResized, writeResized } from './resized-file.ts';
import type { Decoded, DecodeTask, PixelSource } from './task.ts';

/** Decodes, or takes from the cache, resizes and varies one photograph. The result's memory is its own: it can be sent away. */
export async function runTask({ source, cache, ...fit }: DecodeTask): Promise<Decoded> {
  if (!cache) {
    const image = await decode(source);
    return typeof image === 'string'
      ? { kind: 'damaged', reason: image }
      : { kind: 'image', image: resize(image, fit) };
  }
  const vary = (image: RgbImage) => (fit.variation ? fitImage(image, fit) : image);
  const kept = await readResized(cache.file);
  if (kept) return { kind: 'image', image: vary(kept) };
  const image = await decode(source);
  if (typeof image === 'string') return { kind: 'damaged', reason: image };
  const resized = resize(image, { size: fit.size, fit: fit.fit });
  const outcome = cache.write ? await write(cache.file, resized) : {};
  return { kind: 'image', image: vary(resized), ...outcome };
}

async function write(file: string, image: RgbImage): Promise<{ written: number } | { unwritten: string }> {
  try {
    return { written: await writeResized(file, image) };
  } catch (error) {
    return { unwritten: reasonOf(error) };
  }
}

function resize(image: RgbImage, fit: FitImage): RgbImage {
  const resized = fitImage(image, fit);
  return resized.data === image.data ? { ...image, data: image.data.slice() } : resized;
}

/** The image, or what is wrong with it. */
async function decode(source: PixelSource): Promise<RgbImage | string> {
  if (source.kind === 'image') return source.image;
  try {
    return await decodeImage(source.kind === 'file' ? source.part : source.bytes);
  } catch (error) {
    return reasonOf(error instanceof Error && error.cause !== undefined ? error.cause : error);
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).trim();
