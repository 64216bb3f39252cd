import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import sharp, { type Sharp } from 'sharp';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { resizeBilinear, resizeImage, resizeLongestSide } from '../src/images/resize.ts';
import { preprocess, type RgbImage, readImageFolder } from '../src/index.ts';
import { type Fixture, readTiny, relativeError, tinyConfig } from './support.ts';

let tiny: Fixture;
let image: RgbImage;
let folder: string;
beforeAll(async () => {
  await tf.setBackend('cpu');
  tiny = await readTiny();
  image = { width: 117, height: 90, data: tiny.io.image_u8!.data as Uint8Array };
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vit-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** The image as a file of the folder. */
async function save(name: string, change = (file: Sharp) => file): Promise<string> {
  const raw = { width: image.width, height: image.height, channels: 3 as const };
  const path = join(folder, name);
  await change(sharp(image.data, { raw })).toFile(path);
  return path;
}

describe('resizing', () => {
  it('is bit for bit that of Pillow', () => {
    const resized = resizeLongestSide(image, 128);
    expect([resized.height, resized.width, 3]).toEqual(tiny.io.resized_u8!.shape);
    expect(Buffer.compare(resized.data, tiny.io.resized_u8!.data as Uint8Array)).toBe(0);
  });

  it("is bit for bit that of Pillow's bicubic filter too, up and down", () => {
    const drawn = (width: number, height: number) => {
      const data = new Uint8Array(width * height * 3);
      for (let y = 0, at = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          for (let c = 0; c < 3; c++) data[at++] = (((x * (c + 2)) ^ (y * 3)) * 37) ^ (x * y * 5);
      return { width, height, data };
    };
    // CRC-32 of the bytes of Image.resize((W, H), Image.BICUBIC), Pillow 12
    for (const [from, to, crc] of [
      [{ width: 37, height: 23 }, { width: 61, height: 40 }, 1934998357],
      [{ width: 37, height: 23 }, { width: 14, height: 9 }, 4076760576],
      [{ width: 50, height: 20 }, { width: 20, height: 33 }, 1670377583],
    ] as const) {
      const resized = resizeImage(drawn(from.width, from.height), to, { filter: 'bicubic' });
      expect(crc32(resized.data)).toBe(crc);
    }
  });

  it('keeps a constant image constant, and an image of the same size as it is', () => {
    const grey = { width: 31, height: 7, data: new Uint8Array(31 * 7 * 3).fill(255) };
    const small = resizeBilinear(grey, { width: 3, height: 50 });
    expect(small.data.every((value) => value === 255)).toBe(true);
    expect(resizeBilinear(grey, { width: 31, height: 7 })).toEqual(grey);
    expect(resizeLongestSide({ width: 1000, height: 1, data: new Uint8Array(3000) }, 64).height).toBe(1);
    expect(() => resizeBilinear(grey, { width: 0, height: 2 })).toThrow('at least 1 pixel, got 0 x 2');
  });
});

it('preprocesses as segment-anything', async () => {
  const { pixels, inputSize } = preprocess(image, tinyConfig);
  expect(inputSize).toEqual([98, 128]);
  expect(await relativeError(pixels, tiny, 'preprocessed')).toBeLessThan(1e-6);
});

describe('readImageFolder', () => {
  const collect = async (options?: Parameters<typeof readImageFolder>[1]) => {
    const names: string[] = [];
    for await (const { path } of readImageFolder(folder, options)) names.push(path.slice(folder.length + 1));
    return names;
  };

  it('reads images sorted by name, passes other files over and reports those it skips', async () => {
    await save('b.png');
    await save('a.JPG', (file) => file.jpeg());
    await writeFile(join(folder, 'a0.jpg'), 'not an image');
    await writeFile(join(folder, 'notes.txt'), '');
    const skipped: string[] = [];
    expect(await collect({ onSkip: (path) => skipped.push(path) })).toEqual(['a.JPG', 'b.png']);
    expect(skipped).toEqual([join(folder, 'a0.jpg')]);
    await expect(collect({ strict: true })).rejects.toThrow('a0.jpg');
    await expect(collect({ signal: AbortSignal.abort(new Error('stopped')) })).rejects.toThrow('stopped');
  });

  it('refuses a missing folder, one without images and one of broken images', async () => {
    await expect(collect()).rejects.toThrow('readImageFolder: expected images');
    await writeFile(join(folder, 'a.jpg'), 'not an image');
    await expect(collect({ onSkip: () => {} })).rejects.toThrow('got 1 that cannot');
    const parent = folder;
    folder = join(parent, 'none');
    await expect(collect()).rejects.toThrow('readImageFolder: expected a folder');
    folder = parent;
  });
});
