import type { RgbImage } from './rgb-image.ts';

/** Bits of one channel in a pixel: value = (pixel & mask) / 2^shift, at most `most`. */
interface Channel {
  readonly mask: number;
  readonly shift: number;
  readonly most: number;
}

/** What a BMP's headers say. */
interface Layout {
  readonly width: number;
  readonly height: number;
  readonly topDown: boolean;
  readonly bits: number;
  /** Where the pixels begin, bytes. */
  readonly start: number;
  /** [entries, 3] in RGB; of 1, 4 or 8 bits a pixel */
  readonly palette: Uint8Array;
  /** Red, green, blue; of 16 or 32 bits a pixel */
  readonly channels: readonly Channel[];
}

const usualMasks: Readonly<Record<number, readonly number[]>> = {
  16: [0x7c00, 0x03e0, 0x001f],
  32: [0xff0000, 0xff00, 0xff],
};

/**
 * Decodes a BMP without run lengths: 1, 4 or 8 bits a pixel with a palette, 16 or 32 with masks, or 24; rows from either end. Alpha is
 * dropped. The formats are those of Microsoft's BITMAPCOREHEADER, BITMAPINFOHEADER and its later versions.
 *
 * @param most pixels that are accepted
 * @throws when it is truncated, too large, compressed, or has another number of bits
 */
export function decodeBmp(bytes: Uint8Array, most: number): RgbImage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { width, height, topDown, bits, start, palette, channels } = readLayout(view, most);
  const stride = Math.ceil((width * bits) / 32) * 4;
  const end = start + stride * height;
  if (end > bytes.length) throw new Error(`a BMP of ${bytes.length} bytes, not of the ${end} that its header asks for`);
  const data = new Uint8Array(width * height * 3);
  const mask = 2 ** bits - 1;
  for (let y = 0; y < height; y++) {
    const row = start + stride * (topDown ? y : height - 1 - y);
    for (let x = 0; x < width; x++) {
      const to = (y * width + x) * 3;
      if (bits <= 8) {
        const bit = x * bits;
        const index = (bytes[row + (bit >> 3)]! >> (8 - bits - (bit & 7))) & mask;
        for (let c = 0; c < 3; c++) data[to + c] = palette[3 * index + c] ?? 0;
      } else if (bits === 24) {
        for (let c = 0; c < 3; c++) data[to + c] = bytes[row + 3 * x + 2 - c]!;
      } else {
        const pixel = bits === 16 ? view.getUint16(row + 2 * x, true) : view.getUint32(row + 4 * x, true);
        for (let c = 0; c < 3; c++) data[to + c] = brightness(pixel, channels[c]!);
      }
    }
  }
  return { width, height, data };
}

function readLayout(view: DataView, most: number): Layout {
  const at = (offset: number, size: 2 | 4): number => {
    if (offset + size > view.byteLength) throw new Error(`a BMP whose headers end at byte ${view.byteLength}`);
    return size === 2 ? view.getUint16(offset, true) : view.getUint32(offset, true);
  };
  const header = at(14, 4);
  const core = header === 12;
  if (!core && header < 40) throw new Error(`a BMP with a header of ${header} bytes, which is not read`);
  const width = core ? at(18, 2) : at(18, 4) | 0;
  const signed = core ? at(20, 2) : at(22, 4) | 0;
  const height = Math.abs(signed);
  const bits = at(core ? 24 : 28, 2);
  const compression = core ? 0 : at(30, 4);
  if (width < 1 || height < 1) throw new Error(`a BMP of ${width} x ${height} pixels`);
  if (width * height > most) {
    throw new Error(
      `${width} x ${height} pixels, more than ${most} in all; shrink or cut it, or allow more by mostPixels`,
    );
  }
  if (compression !== 0 && compression !== 3 && compression !== 6)
    throw new Error('a compressed BMP, which is not read; save it as PNG');
  if (![1, 4, 8, 16, 24, 32].includes(bits)) throw new Error(`a BMP of ${bits} bits a pixel, which is not read`);
  const masked = compression !== 0 && bits > 8;
  const masks = masked ? [54, 58, 62].map((offset) => at(offset, 4)) : (usualMasks[bits] ?? []);
  const entries = bits > 8 ? 0 : Math.min(2 ** bits, (core ? 0 : at(46, 4)) || 2 ** bits);
  const palette = new Uint8Array(3 * entries);
  const size = core ? 3 : 4;
  for (let i = 0; i < entries; i++) {
    const entry = 14 + header + size * i;
    at(entry, 2);
    for (let c = 0; c < 3; c++) palette[3 * i + c] = entry + 2 < view.byteLength ? view.getUint8(entry + 2 - c) : 0;
  }
  return { width, height, topDown: signed < 0, bits, start: at(10, 4), palette, channels: masks.map(channelOf) };
}

function channelOf(mask: number): Channel {
  const shift = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask);
  return { mask, shift, most: mask >>> shift };
}

/** A channel of a pixel, in [0, 255]. */
function brightness(pixel: number, { mask, shift, most }: Channel): number {
  return most === 0 ? 0 : Math.floor((((pixel & mask) >>> shift) * 255) / most);
}
