import { decodeRle, readSa1b } from '@slimsam/eval';
import { decodeImage, type RgbImage } from '@slimsam/vit';
import { checkFields } from '@slimsam/weights';
import { boxOf } from './object-prompts.ts';

/** A photograph with the objects that people drew on it; arrays are in memory that threads share. */
export interface LabelledPhotograph {
  readonly width: number;
  readonly height: number;
  /** [height * width * 3] */
  readonly pixels: Uint8Array;
  readonly objects: readonly LabelledObject[];
}

export interface LabelledObject {
  /** [height * width], 1 inside */
  readonly mask: Uint8Array;
  /** x0, y0, x1, y1: the first and last pixels inside */
  readonly box: readonly [number, number, number, number];
}

/**
 * Reads all photographs of a folder in SA-1B's format, in the order of their names. They are held in memory, at a whole fraction of their
 * size where that leaves the longest side `side` pixels at least; objects of which nothing is left are dropped.
 *
 * @throws as `readSa1b` and `decodeImage` do; when no object is left in the whole folder
 */
export async function readLabelled(
  folder: string,
  options: { readonly side: number; readonly signal?: AbortSignal | undefined },
): Promise<LabelledPhotograph[]> {
  checkFields('readLabelled', { folder }, { folder: 'string' });
  checkFields('readLabelled', options, { side: 'number' });
  const { side, signal } = options;
  const found: LabelledPhotograph[] = [];
  for await (const { imagePath, width, height, annotations } of readSa1b(folder, signal ? { signal } : {})) {
    const image = await decodeImage(imagePath);
    if (image.width !== width || image.height !== height)
      throw new Error(
        `readLabelled: expected '${imagePath}' of ${width} x ${height} pixels as its JSON says, got ${image.width} x ${image.height}`,
      );
    const step = Math.max(1, Math.floor(Math.max(width, height) / side));
    const small = reduced(image, step);
    const objects = annotations.flatMap(({ segmentation }) => {
      const mask = reducedMask(decodeRle(segmentation), { width, height, step });
      const box = boxOf(mask, small.width);
      return box ? [{ mask, box }] : [];
    });
    found.push({ width: small.width, height: small.height, pixels: small.data, objects });
  }
  if (!found.some(({ objects }) => objects.length > 0))
    throw new Error(`readLabelled: expected at least one mask in '${folder}', got none`);
  return found;
}

const shared = (length: number) => new Uint8Array(new SharedArrayBuffer(length));

/** Means of step x step pixels; what is left over at the right and below is cut off. */
function reduced({ width, height, data }: RgbImage, step: number): RgbImage {
  const [w, h] = [Math.floor(width / step), Math.floor(height / step)];
  const result = shared(w * h * 3);
  for (let y = 0; y < h; y++) {
    for (let i = 0; i < w * 3; i++) {
      const from = y * step * width * 3 + Math.floor(i / 3) * step * 3 + (i % 3);
      let sum = 0;
      for (let v = 0; v < step; v++) for (let u = 0; u < step; u++) sum += data[from + (v * width + u) * 3]!;
      result[y * w * 3 + i] = Math.round(sum / (step * step));
    }
  }
  return { width: w, height: h, data: result };
}

/** The middle pixel of every step x step. */
function reducedMask(
  mask: Uint8Array,
  { width, height, step }: { width: number; height: number; step: number },
): Uint8Array {
  const [w, h] = [Math.floor(width / step), Math.floor(height / step)];
  const result = shared(w * h);
  const middle = step >> 1;
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) result[y * w + x] = mask[(y * step + middle) * width + x * step + middle]!;
  return result;
}
