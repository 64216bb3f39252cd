/** What users hold instead of files: arrays of either kind, ImageData, canvases; and masks as PNG. In a page: page.test.ts. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, it } from 'vitest';
import { createPredictor, decodeImage, maskPng, overlayPng, preprocess, segmentEverything } from '../src/index.ts';
import { expectSame, imageOf, loose, readTiny, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
const size = { width: 5, height: 3 };
const data = Uint8Array.from({ length: 45 }, (_, i) => (i * 37) % 256);
const rgba = Uint8ClampedArray.from({ length: 60 }, (_, i) => (i % 4 === 3 ? 100 : data[3 * (i >> 2) + (i % 4)]!));
const canvas = { ...size, getContext: () => ({ getImageData: () => ({ data: rgba }) }) };

it('decodeImage takes pixels in any of these forms', async () => {
  const forms = [
    { ...size, data },
    { ...size, data: rgba },
    { ...size, data: new Uint8Array(rgba) },
    { ...size, data: Buffer.from(rgba) },
    { ...size, data: Uint8ClampedArray.from(data) },
    canvas as unknown as HTMLCanvasElement,
  ];
  for (const form of forms) expect(await decodeImage(form)).toEqual({ ...size, data });
});

it('what has no pixels, or other ones, is one clear error', async () => {
  const wrong = (value: unknown) => preprocess(value as never, tinyConfig);
  expect(() => wrong({ ...size, data: data.subarray(1) })).toThrow(
    'preprocess: expected an image with data [height, width, 3 or 4], got 5 x 3 pixels and 44 bytes',
  );
  expect(() => wrong({ ...size, data: new Float32Array(45) })).toThrow('5 x 3 pixels and no bytes');
  expect(() => wrong({ width: 0, height: 3, data: new Uint8Array(0) })).toThrow('0 x 3 pixels');
  expect(() => wrong(Promise.resolve())).toThrow('got a Promise; await it first');
  expect(() => wrong(size)).toThrow('got none to draw here; give its data'); // a page's image, without a page
  expect(() => wrong({ naturalWidth: 0, naturalHeight: 0, width: 9, height: 9 })).toThrow('wait until it is loaded');
  await expect(decodeImage(undefined as never)).rejects.toThrow('decodeImage: expected');
});

it('embed and everything mode take a path, bytes, a Blob, ImageData and a canvas: the same as of the image', async () => {
  const tiny = await readTiny();
  const image = imageOf(tiny);
  const png = new Uint8Array(
    await sharp(image.data, { raw: { ...image, channels: 3 } })
      .png()
      .toBuffer(),
  );
  const folder = await mkdtemp(join(tmpdir(), 'embed-'));
  try {
    const path = join(folder, 'photo');
    await writeFile(path, png);
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const expected = predictor.embed(image);
    const values = await expected.embedding.data();
    const withAlpha = await sharp(png).ensureAlpha().raw().toBuffer();
    const { width, height } = image;
    for (const source of [path, png, new Blob([png]), { width, height, data: new Uint8ClampedArray(withAlpha) }]) {
      const embedded = await predictor.embed(source);
      expect(embedded.originalSize).toEqual([height, width]);
      expect(await embedded.embedding.data()).toEqual(values);
      embedded.dispose();
    }
    expected.dispose();
    const few = { ...loose, pointsPerSide: 2 };
    const masks = await segmentEverything(tiny.weights, tinyConfig, image, few);
    expect(masks.length).toBeGreaterThan(0);
    expectSame(await segmentEverything(tiny.weights, tinyConfig, path, few), masks);
    await expect(predictor.embed(join(folder, 'none.jpg'))).rejects.toThrow('none.jpg');
  } finally {
    await rm(folder, { recursive: true });
  }
});

it('a mask and an overlay as PNG', async () => {
  const mask = Uint8Array.from({ length: 15 }, (_, i) => Number(i % 3 === 0));
  const grey = await maskPng(mask, size);
  expect(await sharp(grey).metadata()).toMatchObject({ ...size, format: 'png', channels: 1 });
  expect(new Uint8Array(await sharp(grey).toColourspace('b-w').raw().toBuffer())).toEqual(
    mask.map((inside) => inside * 255),
  );

  const other = Uint8Array.from({ length: 15 }, (_, i) => Number(i === 3));
  const tinted = await decodeImage(await overlayPng({ ...size, data: rgba }, [mask, other]));
  for (let i = 0; i < 15; i++) {
    const color = other[i] ? [86, 180, 233] : [230, 159, 0];
    const expected = [0, 1, 2].map((c) =>
      mask[i] ? Math.round((data[3 * i + c]! + color[c]!) / 2) : data[3 * i + c]!,
    );
    expect(Array.from(tinted.data.subarray(3 * i, 3 * i + 3))).toEqual(expected);
  }
  const red = await decodeImage(await overlayPng({ ...size, data }, [mask], { opacity: 1, colors: [[255, 0, 0]] }));
  expect(Array.from(red.data.subarray(0, 6))).toEqual([255, 0, 0, ...data.subarray(3, 6)]);

  await expect(maskPng(mask, { width: 5, height: 4 })).rejects.toThrow('expected a mask of 5 x 4 bytes, got 15 bytes');
  await expect(overlayPng({ ...size, data }, [mask], { opacity: 2 })).rejects.toThrow(
    'expected opacity in (0, 1], got 2',
  );
});
