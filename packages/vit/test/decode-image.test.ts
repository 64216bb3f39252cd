import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { crc32 } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeImage, type RgbImage } from '../src/index.ts';
import { tiff } from './image-files.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vit-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** Pixels that all differ, of any number of channels. */
function pixels<T extends Uint8Array | Uint16Array>(data: T): T {
  return data.map((_, i) => (i * 2_654_435_761) >>> 7) as T;
}

const size = { width: 37, height: 23 };
const image: RgbImage = { ...size, data: pixels(new Uint8Array(37 * 23 * 3)) };
const rgb = () => sharp(image.data, { raw: { ...size, channels: 3 } });

async function save(file: Sharp, name = 'image.png'): Promise<string> {
  const path = join(folder, name);
  await file.toFile(path);
  return path;
}

/** The upper bytes, as many times as told. */
const spread = (values: Uint16Array | Uint8Array, { shift, times }: { shift: number; times: number }) =>
  Uint8Array.from({ length: values.length * times }, (_, i) => values[Math.floor(i / times)]! >> shift);

describe('decodeImage gives 8-bit RGB', () => {
  it('from a path, a URL, bytes and a Blob', async () => {
    const path = await save(rgb());
    const bytes = new Uint8Array(await readFile(path));
    for (const source of [path, pathToFileURL(path), bytes, new Blob([bytes])]) {
      expect(await decodeImage(source)).toEqual(image);
    }
  });

  it('of grey, with and without alpha', async () => {
    const grey = pixels(new Uint8Array(37 * 23));
    const plain = await save(sharp(grey, { raw: { ...size, channels: 1 } }).toColourspace('b-w'));
    expect((await sharp(plain).metadata()).channels).toBe(1);
    expect(await decodeImage(plain)).toEqual({ ...size, data: spread(grey, { shift: 0, times: 3 }) });
    const pairs = pixels(new Uint8Array(37 * 23 * 2));
    const alpha = await save(sharp(pairs, { raw: { ...size, channels: 2 } }).toColourspace('b-w'));
    expect((await sharp(alpha).metadata()).channels).toBe(2);
    const first = pairs.filter((_, i) => i % 2 === 0);
    expect(await decodeImage(alpha)).toEqual({ ...size, data: spread(first, { shift: 0, times: 3 }) });
  });

  it('of 16 bits, the upper 8 of them', async () => {
    const grey = pixels(new Uint16Array(37 * 23));
    const colours = pixels(new Uint16Array(37 * 23 * 3));
    const greyFile = await save(sharp(grey, { raw: { ...size, channels: 1 } }).toColourspace('grey16'));
    const colourFile = await save(sharp(colours, { raw: { ...size, channels: 3 } }).toColourspace('rgb16'), 'rgb.png');
    for (const file of [greyFile, colourFile]) expect((await sharp(file).metadata()).depth).toBe('ushort');
    expect(await decodeImage(greyFile)).toEqual({ ...size, data: spread(grey, { shift: 8, times: 3 }) });
    expect(await decodeImage(colourFile)).toEqual({ ...size, data: spread(colours, { shift: 8, times: 1 }) });
  });

  it('without alpha, keeping the colours under it', async () => {
    const rgba = pixels(new Uint8Array(37 * 23 * 4));
    for (let i = 3; i < rgba.length; i += 8) rgba[i] = 0;
    const path = await save(sharp(rgba, { raw: { ...size, channels: 4 } }));
    expect(await decodeImage(path)).toEqual({ ...size, data: rgba.filter((_, i) => i % 4 !== 3) });
  });

  it('of a palette, with and without transparency', async () => {
    const colours = [
      [255, 0, 0, 255],
      [0, 128, 64, 255],
      [1, 2, 3, 255],
      [250, 240, 230, 255],
    ];
    for (const alpha of [255, 90]) {
      const rgba = Uint8Array.from({ length: 37 * 23 * 4 }, (_, i) => colours[(i >> 2) % 4]![i % 4]!);
      rgba.forEach((_, i) => {
        if (i % 16 === 3) rgba[i] = alpha;
      });
      const path = await save(sharp(rgba, { raw: { ...size, channels: 4 } }).png({ palette: true, dither: 0 }));
      expect((await sharp(path).metadata()).isPalette).toBe(true);
      const { data } = await decodeImage(path);
      // palettes are made in another colour space, so that values may move a little
      const wanted = rgba.filter((_, i) => i % 4 !== 3);
      expect(data).toHaveLength(wanted.length);
      expect(Math.max(...data.map((value, i) => Math.abs(value - wanted[i]!)))).toBeLessThanOrEqual(2);
    }
  });

  it('as the file has it, whatever its colour profile', async () => {
    const red = { create: { ...size, channels: 3 as const, background: '#f00' } };
    const path = await save(sharp(red).withIccProfile('p3'));
    expect((await sharp(path).metadata()).hasProfile).toBe(true);
    const { data } = await decodeImage(path);
    // sRGB's red in Display P3 is 0.917 0.200 0.139
    [234, 51, 35].forEach((value, c) => {
      expect(Math.abs(data[c]! - value)).toBeLessThanOrEqual(1);
    });
  });

  it('of an animation the first frame', async () => {
    const frames = [10, 200].map((r) => ({
      create: { ...size, channels: 3 as const, background: { r, g: 50, b: 90 } },
    }));
    const pngs = await Promise.all(frames.map((frame) => sharp(frame).png().toBuffer()));
    const path = await save(sharp(pngs, { join: { animated: true } }).gif(), 'two.gif');
    expect((await sharp(path, { pages: -1 }).metadata()).pages).toBe(2);
    const { data, ...rest } = await decodeImage(path);
    expect(rest).toEqual(size);
    expect(Array.from(data.subarray(0, 3))).toEqual([10, 50, 90]);
  });
});

describe('CMYK', () => {
  const cmykTiff = (data: Uint8Array) => tiff({ ...size, samples: 4, bits: 8, photometric: 5 }, data);

  /** Pillow's convert('RGB'). */
  const toRgb = (cmyk: Uint8Array) =>
    Uint8Array.from({ length: (cmyk.length / 4) * 3 }, (_, i) => {
      const [ink, black] = [cmyk[Math.floor(i / 3) * 4 + (i % 3)]!, cmyk[Math.floor(i / 3) * 4 + 3]!];
      return Math.round(((255 - ink) * (255 - black)) / 255);
    });

  it('of a TIFF is turned as Pillow does', async () => {
    const cmyk = pixels(new Uint8Array(37 * 23 * 4));
    expect(await decodeImage(cmykTiff(cmyk))).toEqual({ ...size, data: toRgb(cmyk) });
  });

  it('of a JPEG too, turned upright', async () => {
    const cmyk = new Uint8Array(37 * 23 * 4).map((_, i) => [20, 180, 90, i < 37 * 4 * 11 ? 0 : 120][i % 4]!);
    const jpeg = sharp(cmykTiff(cmyk)).pipelineColourspace('cmyk').toColourspace('cmyk').jpeg({ quality: 100 });
    const bytes = await jpeg.withExif({ IFD0: { Copyright: 'none' } }).toBuffer();
    const tag = bytes.indexOf(Uint8Array.of(0x12, 1, 3, 0, 1, 0, 0, 0, 1, 0)); // sharp writes orientation 1 alone
    bytes[tag + 8] = 3;
    expect(await sharp(bytes).metadata()).toMatchObject({ space: 'cmyk', orientation: 3 });
    const { data, ...rest } = await decodeImage(bytes);
    expect(rest).toEqual(size);
    const wanted = toRgb(cmyk);
    const [first, last] = [Array.from(data.subarray(0, 3)), Array.from(data.subarray(-3))];
    const near = (found: number[], at: number) => {
      found.forEach((value, c) => {
        expect(Math.abs(value - wanted.at(at + c)!)).toBeLessThanOrEqual(4);
      });
    };
    near(first, -3);
    near(last, 0);
  });
});

describe('EXIF', () => {
  /** For each orientation, where pixel (x, y) of the file is shown: TIFF 6.0, tag 274. */
  const shown: ((x: number, y: number) => [number, number])[] = [
    (x, y) => [x, y],
    (x, y) => [36 - x, y],
    (x, y) => [36 - x, 22 - y],
    (x, y) => [x, 22 - y],
    (x, y) => [y, x],
    (x, y) => [22 - y, x],
    (x, y) => [22 - y, 36 - x],
    (x, y) => [y, 36 - x],
  ];

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('orientation %s is turned upright', async (orientation) => {
    for (const name of ['turned.png', 'turned.webp']) {
      const file = name.endsWith('webp') ? rgb().webp({ lossless: true }) : rgb();
      const turned = await decodeImage(await save(file.withMetadata({ orientation }), name));
      const [width, height] = orientation < 5 ? [37, 23] : [23, 37];
      expect([turned.width, turned.height]).toEqual([width, height]);
      for (let i = 0; i < 37 * 23; i++) {
        const [x, y] = shown[orientation - 1]!(i % 37, Math.floor(i / 37));
        const at = (y * width + x) * 3;
        expect(turned.data.subarray(at, at + 3)).toEqual(image.data.subarray(3 * i, 3 * i + 3));
      }
    }
  });
});

describe('decodeImage refuses', () => {
  it('a file that is missing, truncated or no image, and says which', async () => {
    const bytes = new Uint8Array(await rgb().jpeg().toBuffer());
    const cut = join(folder, 'cut.jpg');
    await writeFile(cut, bytes.subarray(0, bytes.length / 2));
    await expect(decodeImage(cut)).rejects.toThrow(`for '${cut}'`);
    await writeFile(cut, 'text');
    await expect(decodeImage(cut)).rejects.toThrow(`for '${cut}'`);
    await expect(decodeImage(join(folder, 'none.jpg'))).rejects.toThrow('none.jpg');
    await expect(decodeImage(new Uint8Array(7))).rejects.toThrow('for 7 bytes');
    await expect(decodeImage(new Uint8Array(0))).rejects.toThrow('for 0 bytes');
    await expect(decodeImage(new Blob(['text']))).rejects.toThrow('for a Blob of 4 bytes');
  });

  /** A PNG that has only its header. */
  function pngHeader(width: number, height: number): Uint8Array {
    const bytes = new Uint8Array(45);
    const view = new DataView(bytes.buffer);
    bytes.set([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
    view.setUint32(8, 13);
    bytes.set(new TextEncoder().encode('IHDR'), 12);
    view.setUint32(16, width);
    view.setUint32(20, height);
    bytes.set([8, 2, 0, 0, 0], 24);
    view.setUint32(29, crc32(bytes.subarray(12, 29)));
    bytes.set(new TextEncoder().encode('IDAT'), 37);
    view.setUint32(41, crc32(bytes.subarray(37, 41)));
    return bytes;
  }

  it('an image of 30,000 x 30,000 pixels before it is decoded, but not one of 30,000 x 40', async () => {
    await expect(decodeImage(pngHeader(30_000, 30_000))).rejects.toThrow(
      "got '30000 x 30000 pixels, more than 134217728 in all; shrink or cut it, or allow more by mostPixels' for 45 bytes",
    );
    // a whole lossless WebP of one colour
    const webp = Buffer.from('UklGRh4AAABXRUJQVlA4TBEAAAAv/r//DwdQos60qv+BiOh/AAA=', 'base64');
    await expect(decodeImage(webp)).rejects.toThrow("got '16383 x 16383 pixels, more than 134217728 in all");
    await expect(decodeImage(await rgb().png().toBuffer(), { mostPixels: 850 })).rejects.toThrow(
      'more than 850 in all',
    );
    expect(await decodeImage(await rgb().png().toBuffer(), { mostPixels: 851 })).toEqual(image);
    const long = { create: { width: 30_000, height: 40, channels: 3 as const, background: '#123456' } };
    const decoded = await decodeImage(await save(sharp(long)));
    expect([decoded.width, decoded.height, decoded.data.length]).toEqual([30_000, 40, 3_600_000]);
  });

  it('a decoder that says very much is cut short', async () => {
    // a TIFF that is JPEG inside, with bits missing: libtiff warns of each of them
    const bytes = new Uint8Array(await readFile(new URL('fixtures/wordy.tiff', import.meta.url)));
    const error: Error = await decodeImage(bytes).then(
      () => expect.unreachable(),
      (reason) => reason,
    );
    expect(error.message).toMatch(/^decodeImage: expected an image that can be decoded, got '.*…' for 995 bytes$/);
    expect(error.message.length).toBeLessThan(600);
  });

  it('an image of 0 pixels', async () => {
    await expect(decodeImage(pngHeader(0, 10))).rejects.toThrow('decodeImage: expected an image');
  });
});

describe('decodeImage reads raster images alone, from regular files', () => {
  it('SVG is not rendered, whatever the name: it could read files beside it', async () => {
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>`;
    for (const text of [svg, `<?xml version="1.0"?>${svg}`, `\ufeff${svg}`, `\n\n  ${svg}`, '%PDF-1.4']) {
      const path = join(folder, 'drawing.jpg');
      await writeFile(path, text);
      await expect(decodeImage(path)).rejects.toThrow(/no JPEG, PNG, WebP, GIF, TIFF, .* by its content/);
    }
  });

  it.each(['jpeg', 'png', 'webp', 'gif', 'tiff', 'avif'] as const)('%s is known by its content', async (format) => {
    const path = join(folder, 'image.dat');
    await writeFile(path, await rgb().toFormat(format).toBuffer());
    expect(await decodeImage(path)).toMatchObject(size);
  });

  it('a FIFO and a folder are errors at once', async () => {
    const fifo = join(folder, 'fifo.jpg');
    execFileSync('mkfifo', [fifo]);
    await expect(decodeImage(fifo)).rejects.toThrow(`got 'a FIFO, not a regular file' for '${fifo}'`);
    await expect(decodeImage(folder)).rejects.toThrow('a folder, not a regular file');
    await expect(decodeImage('/dev/zero')).rejects.toThrow('a device, not a regular file');
  });

  it('an image within a file', async () => {
    const png = await rgb().png().toBuffer();
    const path = join(folder, 'two.bin');
    await writeFile(path, Buffer.concat([Buffer.alloc(100, 7), png, Buffer.alloc(50, 9)]));
    const part = { path, offset: 100, length: png.length, size: png.length + 150 };
    expect(await decodeImage(part)).toEqual(image);
    await expect(decodeImage({ ...part, size: 7 })).rejects.toThrow(`a file of ${png.length + 150} bytes, not of 7`);
    await expect(decodeImage({ ...part, length: 1e6 })).rejects.toThrow('does not hold bytes 100 to 1000100');
    await expect(decodeImage({ path, offset: -1 })).rejects.toThrow('does not hold bytes -1');
  });
});
