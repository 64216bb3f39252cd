/** Image files that sharp does not write, from their formats' descriptions. */

/** A baseline TIFF of one uncompressed strip. `photometric`: 1 grey, 2 RGB, 5 CMYK, 8 Lab; `format`: 1 whole numbers, 3 floats. */
export function tiff(
  {
    width,
    height,
    samples,
    bits,
    photometric,
    format = 1,
  }: Record<'width' | 'height' | 'samples' | 'bits' | 'photometric', number> & { format?: number },
  data: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const short = 3;
  const long = 4;
  const listAt = 8; // the bits of up to four samples
  const directoryAt = 16;
  const entries: [number, number, number, number][] = [
    [256, long, 1, width],
    [257, long, 1, height],
    [258, short, samples, samples > 2 ? listAt : bits * (samples === 2 ? 0x10001 : 1)],
    [259, short, 1, 1],
    [262, short, 1, photometric],
    [273, long, 1, 0], // where the strip begins, below
    [277, short, 1, samples],
    [278, long, 1, height],
    [279, long, 1, data.length],
    [339, short, 1, format],
  ];
  const start = directoryAt + 2 + 12 * entries.length + 4;
  entries[5]![3] = start;
  const view = new DataView(new ArrayBuffer(start + data.length));
  [0x49, 0x49, 42, 0, directoryAt, 0, 0, 0].forEach((byte, i) => {
    view.setUint8(i, byte);
  });
  for (let i = 0; i < 4; i++) view.setUint16(listAt + 2 * i, bits, true);
  view.setUint16(directoryAt, entries.length, true);
  entries.forEach(([tag, type, count, value], i) => {
    const at = directoryAt + 2 + 12 * i;
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, type, true);
    view.setUint32(at + 4, count, true);
    view.setUint32(at + 8, value, true);
  });
  const bytes = new Uint8Array(view.buffer);
  bytes.set(data, start);
  return bytes;
}

/** What a BMP of `bmp` is made of. */
interface BmpParts {
  readonly width: number;
  /** Negative: the first row is the upper one. */
  readonly height: number;
  readonly bits: number;
  /** Red, green and blue. */
  readonly masks?: readonly number[];
  /** RGB. */
  readonly palette?: readonly (readonly number[])[];
  readonly compression?: number;
  /** The old header of 12 bytes. */
  readonly core?: boolean;
  /** The pixel in row y, x from the left, of the picture as it is seen. */
  readonly pixel: (x: number, y: number) => number;
}

/** A BMP. */
export function bmp(parts: BmpParts): Uint8Array<ArrayBuffer> {
  const { width, height, bits, masks = [], palette = [], core = false, pixel } = parts;
  const rows = Math.abs(height);
  const header = core ? 12 : 40;
  const entry = core ? 3 : 4;
  const start = 14 + header + 4 * masks.length + entry * palette.length;
  const stride = Math.ceil((width * bits) / 32) * 4;
  const view = new DataView(new ArrayBuffer(start + stride * rows));
  view.setUint16(0, 0x4d42, true);
  view.setUint32(2, view.byteLength, true);
  view.setUint32(10, start, true);
  view.setUint32(14, header, true);
  if (core) {
    [width, rows, 1, bits].forEach((value, i) => {
      view.setUint16(18 + 2 * i, value, true);
    });
  } else {
    view.setInt32(18, width, true);
    view.setInt32(22, height, true);
    view.setUint16(26, 1, true);
    view.setUint16(28, bits, true);
    view.setUint32(30, parts.compression ?? (masks.length > 0 ? 3 : 0), true);
    view.setUint32(46, palette.length, true);
  }
  masks.forEach((mask, i) => {
    view.setUint32(54 + 4 * i, mask, true);
  });
  palette.forEach((color, i) => {
    color.forEach((value, c) => {
      view.setUint8(14 + header + entry * i + 2 - c, value);
    });
  });
  for (let y = 0; y < rows; y++) {
    const row = start + stride * (height < 0 ? y : rows - 1 - y);
    for (let x = 0; x < width; x++) {
      const value = pixel(x, y);
      for (let bit = 0; bit < bits; bit += 8) {
        const at = row + Math.floor((x * bits) / 8) + bit / 8;
        const shift = bits < 8 ? 8 - bits - ((x * bits) % 8) : 0;
        view.setUint8(at, view.getUint8(at) | (((value >>> bit) & 255) << shift));
      }
    }
  }
  return new Uint8Array(view.buffer);
}
