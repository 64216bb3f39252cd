import type { RgbImage } from './rgb-image.ts';

/** 8-bit pixels with alpha, as the ImageData of a canvas. */
interface RgbaImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 4]; alpha is dropped */
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** What a browser can draw, of the size that it has itself. */
type Drawable = HTMLCanvasElement | OffscreenCanvas | ImageBitmap | HTMLImageElement | HTMLVideoElement | VideoFrame;

/** An image whose pixels are at hand: arrays of RGB or RGBA, or what a canvas holds or can draw. */
export type ImagePixels = RgbImage | RgbaImage | Drawable;

/**
 * The pixels as 8-bit RGB; an RGB image is given back itself. Of what is drawn, colours are rounded where alpha is less than 1.
 *
 * @throws when the data does not fit the size, or there is no canvas to draw on, as in Node
 */
export function toRgb(image: ImagePixels, call: string): RgbImage {
  const size = sizeOf(image);
  if (!size) {
    const cure = 'decodeImage() makes one of files and encoded bytes';
    throw new Error(`${call}: expected an image { width, height, data }, got ${describe(image)}; ${cure}`);
  }
  const { width, height } = size;
  const data = 'data' in image ? image.data : drawnPixels(image, { ...size, call });
  const bytes = data instanceof Uint8Array || data instanceof Uint8ClampedArray;
  const pixels = width * height;
  if (Math.min(width, height) >= 1 && Number.isInteger(pixels) && bytes) {
    if (data.length === 3 * pixels) return { width, height, data: asBytes(data) };
    if (data.length === 4 * pixels) return { width, height, data: withoutAlpha(data) };
  }
  throw new Error(
    `${call}: expected an image with data [height, width, 3 or 4], got ${width} x ${height} pixels and ${bytes ? data.length : 'no'} bytes; decodeImage() makes one`,
  );
}

const asBytes = (data: Uint8Array | Uint8ClampedArray): Uint8Array =>
  data instanceof Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.length);

/** [height, width, 4] -> [height, width, 3] */
export function withoutAlpha(rgba: Uint8Array | Uint8ClampedArray): Uint8Array {
  const data = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    data[to] = rgba[from]!;
    data[to + 1] = rgba[from + 1]!;
    data[to + 2] = rgba[from + 2]!;
  }
  return data;
}

/** The names of widths, the most exact first: an image's and a video's `width` is that of the page's layout. */
const widths = [
  ['naturalWidth', 'naturalHeight'],
  ['videoWidth', 'videoHeight'],
  ['displayWidth', 'displayHeight'],
  ['width', 'height'],
] as const;

function sizeOf(image: unknown): { width: number; height: number } | undefined {
  if (typeof image !== 'object' || image === null) return undefined;
  const fields = image as Readonly<Record<string, unknown>>;
  for (const [x, y] of widths) {
    const [width, height] = [fields[x], fields[y]];
    if (typeof width === 'number' && typeof height === 'number') return { width, height };
  }
  return undefined;
}

/** [height, width, 4], from the canvas itself, or drawn on one. */
function drawnPixels(
  image: Drawable,
  { width, height, call }: { width: number; height: number; call: string },
): Uint8ClampedArray {
  if (Math.min(width, height) < 1)
    throw new Error(`${call}: expected an image with pixels, got ${width} x ${height}; wait until it is loaded`);
  const own = 'getContext' in image ? (image.getContext('2d') as OffscreenCanvasRenderingContext2D | null) : null;
  if (own) return own.getImageData(0, 0, width, height).data;
  if (typeof OffscreenCanvas === 'undefined')
    throw new Error(`${call}: expected an image { width, height, data }, got none to draw here; give its data`);
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error(`${call}: expected a canvas of ${width} x ${height} pixels, got none`);
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

function describe(value: unknown): string {
  if (value instanceof Promise) return 'a Promise; await it first';
  return typeof value === 'object' && value !== null
    ? `{ ${Object.keys(value).slice(0, 5).join(', ')} }`
    : String(value);
}
