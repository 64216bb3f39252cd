/** Images in a page of headless Chromium: what it holds becomes pixels, and masks become PNGs, as in Node. */
import { build } from 'esbuild';
import { chromium } from 'playwright';
import sharp from 'sharp';
import { expect, it } from 'vitest';
import { chromium as installed } from '../../../scripts/setup/chromium.mjs';
import { bmp } from './image-files.ts';

const size = { width: 5, height: 3 };
const data = Uint8Array.from({ length: 45 }, (_, i) => (i * 37) % 256);
const code = `
import { decodeImage, maskPng, overlayPng } from '@slimsam/vit';
window.run = async ({ png, deep, bmp, width, height }) => {
  const blob = new Blob([Uint8Array.from(png)], { type: 'image/png' });
  const address = URL.createObjectURL(blob);
  const bitmap = await createImageBitmap(blob);
  const element = document.createElement('canvas');
  const offscreen = new OffscreenCanvas(width, height);
  for (const canvas of [element, offscreen]) {
    canvas.width = width;
    canvas.height = height;
    canvas.getContext('2d', { willReadFrequently: true }).drawImage(bitmap, 0, 0);
  }
  const image = new Image();
  image.src = address;
  image.width = 50; // as laid out, which does not count
  await image.decode();
  const pixels = offscreen.getContext('2d').getImageData(0, 0, width, height);
  const sources = { blob, address, bytes: Uint8Array.from(png), bmp: Uint8Array.from(bmp), bitmap, element, offscreen, image, pixels };
  const found = {};
  for (const [name, source] of Object.entries(sources)) {
    const decoded = await decodeImage(source);
    found[name] = [decoded.width, decoded.height, ...decoded.data];
  }
  const mask = Uint8Array.from({ length: width * height }, (_, i) => i % 2);
  const overlay = await overlayPng(offscreen, [mask], { opacity: 1, colors: [[1, 2, 3]] });
  const refused = await decodeImage(Uint8Array.from(deep), { scaleByMaximum: true }).catch((error) => error.message);
  return { found, mask: [...(await maskPng(mask, { width, height }))], overlay: [...overlay], refused };
};
`;

it('a page decodes what it holds, and writes masks', async () => {
  const bundle = await build({
    stdin: { contents: code, resolveDir: import.meta.dirname },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    conditions: ['@slimsam/source'],
    logLevel: 'silent',
  });
  const { executablePath, args, env } = installed();
  const browser = await chromium.launch({ executablePath, args, env: env as Record<string, string> });
  try {
    const page = await browser.newPage();
    await page.setContent('<title>images</title>');
    await page.addScriptTag({ content: bundle.outputFiles[0]!.text, type: 'module' });
    await page.waitForFunction('window.run');
    const png = await sharp(data, { raw: { ...size, channels: 3 } })
      .png()
      .toBuffer();
    const deep = await sharp(new Uint16Array(15), { raw: { ...size, channels: 1 } })
      .toColourspace('grey16')
      .png()
      .toBuffer();
    const pixel = (x: number, y: number) =>
      [0, 1, 2].reduce((sum, c) => sum + data[(y * 5 + x) * 3 + c]! * 2 ** (16 - 8 * c), 0);
    const files = { png: [...png], deep: [...deep], bmp: [...bmp({ ...size, bits: 24, pixel })], ...size };
    const { found, mask, overlay, refused } = (await page.evaluate(`window.run(${JSON.stringify(files)})`)) as {
      found: Record<string, number[]>;
      mask: number[];
      overlay: number[];
      refused: string;
    };
    expect(Object.keys(found)).toHaveLength(9);
    for (const [name, pixels] of Object.entries(found)) expect([name, ...pixels]).toEqual([name, 5, 3, ...data]);
    const odd = (i: number) => i % 2 === 1;
    const read = async (bytes: number[]) =>
      new Uint8Array(await sharp(Uint8Array.from(bytes)).removeAlpha().raw().toBuffer());
    const white = await read(mask);
    expect(white).toHaveLength(45);
    expect([...white].every((value, i) => value === (odd(Math.floor(i / 3)) ? 255 : 0))).toBe(true);
    const tinted = await read(overlay);
    expect([...tinted]).toEqual([...data].map((value, i) => (odd(Math.floor(i / 3)) ? 1 + (i % 3) : value)));
    expect(refused).toContain('16 bits a value, which only Node scales');
  } finally {
    await browser.close();
  }
});
