import type { RasterToEncode } from './rgb-image.ts';

/** A PNG of 8-bit grey or RGB pixels, by the browser's canvas, which writes RGBA. */
export async function encodePng({ width, height, data }: RasterToEncode): Promise<Uint8Array<ArrayBuffer>> {
  const channels = data.length === width * height ? 1 : 3;
  const pixels = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = data[channels * i + (channels === 3 ? c : 0)]!;
    pixels.data[4 * i + 3] = 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  if (!context) throw new Error(`encodePng: expected a canvas of ${width} x ${height} pixels, got none`);
  context.putImageData(pixels, 0, 0);
  return new Uint8Array(await (await canvas.convertToBlob({ type: 'image/png' })).arrayBuffer());
}
