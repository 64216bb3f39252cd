/** Images of more than 8 bits a value, BMP, and what looks like neither: as Pillow, or said otherwise. */
import sharp from 'sharp';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { bmp, tiff } from './image-files.ts';

const size = { width: 5, height: 3 };
const numbers = Array.from({ length: 15 }, (_, i) => i);

/** A fresh module: it warns once. */
let decodeImage: typeof import('../src/index.ts').decodeImage;
const warn = vi.spyOn(console, 'warn').mockReturnValue(undefined);
beforeEach(async () => {
  vi.resetModules();
  warn.mockClear();
  ({ decodeImage } = await import('../src/images/image.ts'));
});

const bytesOf = (values: Uint16Array | Float32Array | Int32Array) => new Uint8Array(values.buffer);
const grey = (values: ArrayLike<number>) =>
  Uint8Array.from({ length: 3 * values.length }, (_, i) => values[Math.floor(i / 3)]!);
const scaled = (values: ArrayLike<number>, most: number) =>
  Array.from(values, (value) => Math.round((value * 255) / most));

describe('more than 8 bits a value', () => {
  const dark = Uint16Array.from(numbers, (i) => i * 290); // 12 bits, as of a microscope: 4060 at most
  const full = Uint16Array.from(numbers, (i) => i * 4681);
  const upper = (values: Uint16Array) => Array.from(values, (value) => value >> 8);
  const png = (values: Uint16Array, channels: 1 | 3) =>
    sharp(values, { raw: { ...size, channels } })
      .toColourspace(channels === 1 ? 'grey16' : 'rgb16')
      .png()
      .toBuffer();

  it('12 bits in a grey PNG or TIFF of 16 are dark, warned of once, and scaled when asked', async () => {
    const files = [await png(dark, 1), tiff({ ...size, samples: 1, bits: 16, photometric: 1 }, bytesOf(dark))];
    for (const file of files) {
      expect(await decodeImage(file)).toEqual({ ...size, data: grey(upper(dark)) });
      const { data } = await decodeImage(file, { scaleByMaximum: true });
      expect(data).toEqual(grey(scaled(dark, 4060)));
    }
    expect(warn.mock.calls).toEqual([
      [expect.stringMatching(/^decodeImage: \d+ bytes has values up to 4060 of type ushort: .* scaleByMaximum: true/)],
    ]);
  });

  it('values up to white are not warned of', async () => {
    expect(await decodeImage(await png(full, 1))).toEqual({ ...size, data: grey(upper(full)) });
    expect(warn).not.toHaveBeenCalled();
  });

  it('the same of colours, by the largest of all three, whatever alpha is', async () => {
    const values = Uint16Array.from({ length: 45 }, (_, i) => i * 90); // 3960 at most
    const rgba = Uint16Array.from({ length: 60 }, (_, i) => (i % 4 === 3 ? 65535 : values[3 * (i >> 2) + (i % 4)]!));
    const files = [
      await png(values, 3),
      tiff({ ...size, samples: 3, bits: 16, photometric: 2 }, bytesOf(values)),
      await sharp(rgba, { raw: { ...size, channels: 4 } })
        .toColourspace('rgb16')
        .png()
        .toBuffer(),
    ];
    for (const file of files) {
      expect((await decodeImage(file)).data).toEqual(Uint8Array.from(upper(values)));
      expect((await decodeImage(file, { scaleByMaximum: true })).data).toEqual(Uint8Array.from(scaled(values, 3960)));
    }
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it('floats and whole numbers of 32 bits are cut to [0, 255] as Pillow does, warned of, and scaled when asked', async () => {
    const shares = Float32Array.from(numbers, (i) => i / 16);
    const depths = Int32Array.from(numbers, (i) => i * 100 - 100);
    const floatFile = tiff({ ...size, samples: 1, bits: 32, photometric: 1, format: 3 }, bytesOf(shares));
    const wholeFile = tiff({ ...size, samples: 1, bits: 32, photometric: 1, format: 2 }, bytesOf(depths));
    expect((await decodeImage(floatFile)).data).toEqual(new Uint8Array(45));
    expect(warn.mock.calls[0]?.[0]).toContain('values up to 0.875 of type float: it is cut to [0, 255]');
    expect((await decodeImage(floatFile, { scaleByMaximum: true })).data).toEqual(grey(scaled(shares, 0.875)));
    expect((await decodeImage(wholeFile)).data).toEqual(grey([0, 0, 100, 200, ...Array(11).fill(255)]));
    const positive = depths.map((value) => Math.max(0, value));
    expect((await decodeImage(wholeFile, { scaleByMaximum: true })).data).toEqual(grey(scaled(positive, 1300)));
  });

  it('black stays black, 8 bits stay as they are', async () => {
    const black = await png(new Uint16Array(15), 1);
    expect((await decodeImage(black, { scaleByMaximum: true })).data).toEqual(new Uint8Array(45));
    const plain = await sharp(new Uint8Array(15).fill(9), { raw: { ...size, channels: 1 } })
      .png()
      .toBuffer();
    expect((await decodeImage(plain, { scaleByMaximum: true })).data).toEqual(new Uint8Array(45).fill(9));
    expect(warn).not.toHaveBeenCalled();
  });
});

describe('BMP', () => {
  const rgb = (x: number, y: number) => [x * 40, 255 - y * 60, x * y * 7];
  const seen = (value: (x: number, y: number) => readonly number[]) => ({
    ...size,
    data: Uint8Array.from(numbers.flatMap((i) => value(i % 5, Math.floor(i / 5)))),
  });
  const packed = (x: number, y: number) => rgb(x, y).reduce((sum, value, c) => sum + value * 2 ** (16 - 8 * c), 0);

  it('of 24 and 32 bits, from either end', async () => {
    for (const bits of [24, 32]) {
      for (const height of [3, -3])
        expect(await decodeImage(bmp({ ...size, height, bits, pixel: packed }))).toEqual(seen(rgb));
    }
    expect(await decodeImage(bmp({ ...size, bits: 24, core: true, pixel: packed }))).toEqual(seen(rgb));
  });

  it('with a palette of 1, 4 and 8 bits, also of fewer colours', async () => {
    for (const [bits, colors] of [
      [1, 2],
      [4, 16],
      [4, 9],
      [8, 15],
    ] as const) {
      const palette = Array.from({ length: colors }, (_, i) => [i * 16, 255 - i, i + 3]);
      const pixel = (x: number, y: number) => (x + 5 * y) % colors;
      for (const core of [false, colors === 2 ** bits]) {
        expect(await decodeImage(bmp({ ...size, bits, palette, core, pixel }))).toEqual(
          seen((x, y) => palette[pixel(x, y)]!),
        );
      }
    }
  });

  it('of 16 bits, with 5 for each colour or by masks', async () => {
    const wide = (value: number, most: number) => Math.floor((value * 255) / most);
    const pixel = (x: number, y: number) => ((x * 6) << 10) | ((y * 9) << 5) | (x + y);
    expect(await decodeImage(bmp({ ...size, bits: 16, pixel }))).toEqual(
      seen((x, y) => [wide(x * 6, 31), wide(y * 9, 31), wide(x + y, 31)]),
    );
    const masks = [0xf800, 0x07e0, 0x001f];
    const green = (x: number, y: number) => ((x * 6) << 11) | ((y * 20) << 5) | (x + y);
    expect(await decodeImage(bmp({ ...size, bits: 16, masks, pixel: green }))).toEqual(
      seen((x, y) => [wide(x * 6, 31), wide(y * 20, 63), wide(x + y, 31)]),
    );
  });

  it('with run lengths, cut off, too large or none at all is one clear error', async () => {
    const good = bmp({ ...size, bits: 24, pixel: packed });
    await expect(decodeImage(bmp({ ...size, bits: 8, compression: 1, pixel: packed }))).rejects.toThrow(
      "got 'a compressed BMP, which is not read; save it as PNG'",
    );
    await expect(decodeImage(good.subarray(0, good.length - 1))).rejects.toThrow('a BMP of 101 bytes, not of the 102');
    await expect(decodeImage(good.subarray(0, 30))).rejects.toThrow("got 'a BMP whose headers end at byte 30'");
    const huge = good.slice();
    new DataView(huge.buffer).setInt32(18, 2 ** 30, true);
    await expect(decodeImage(huge)).rejects.toThrow('1073741824 x 3 pixels, more than 134217728 in all');
  });
});

describe('errors are one line', () => {
  it('of a Lab TIFF and of another that libvips does not read', async () => {
    const lab = tiff({ ...size, samples: 3, bits: 8, photometric: 8 }, new Uint8Array(45).fill(90));
    const odd = tiff({ ...size, samples: 3, bits: 13, photometric: 2 }, new Uint8Array(100));
    for (const file of [lab, odd]) {
      const read = await decodeImage(file).then(
        ({ data }) => data.length,
        (error: Error) => error.message,
      );
      if (typeof read === 'number') expect(read).toBe(45);
      else expect(read).toMatch(/^decodeImage: expected an image that can be decoded, got '[^\n]+' for \d+ bytes$/);
    }
  });

  it('of an HTML page instead of an image', async () => {
    for (const page of ['<!doctype html><title>App</title>', '\n<html lang="en">'])
      await expect(decodeImage(new TextEncoder().encode(page))).rejects.toThrow("got 'an HTML page, as servers send");
  });
});
