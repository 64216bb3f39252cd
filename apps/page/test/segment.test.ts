import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { maskIou } from '@slimsam/eval';
import { maskPng } from '@slimsam/vit';
import type { Page } from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Opened, openPage } from './open-page.ts';
import { bytesOf, files, inNode, message, onStage, pick, ready, said, savedMask } from './support.ts';

let opened: Opened;
let page: Page;

beforeAll(async () => {
  opened = await openPage();
  page = await opened.browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(3_600_000);
  await page.goto(opened.address);
  await ready(page);
  await page.click('[data-open=scene]');
  await page.waitForSelector('#stage:not([hidden])');
});
afterAll(() => opened?.close());

test('a click gives the mask that Node gives', async () => {
  const point = [200, 120] as const;
  const { x, y } = await onStage(page, 'stage', point);
  const start = performance.now();
  await page.mouse.click(x, y);
  await said(page, 'segment-status', /^Mask in/);
  console.log(
    `first click: ${(performance.now() - start).toFixed(0)} ms; ${await page.textContent('#segment-status')}`,
  );
  const theirs = await inNode({ model: files.slim, scene: 1, point });
  expect(theirs.adapter).toMatch(/SwiftShader/i);
  expect(maskIou(await savedMask(page), bytesOf(theirs.mask!))).toBeGreaterThanOrEqual(0.99);
});

test('a second point outside narrows it, undo takes it back, keys do the same', async () => {
  const before = await savedMask(page);
  const at = await onStage(page, 'stage', [40, 40]);
  await page.mouse.click(at.x, at.y, { button: 'right' });
  await said(page, 'segment-status', /^Mask in/);
  await page.click('#undo');
  await said(page, 'segment-status', /^Mask in/);
  expect(maskIou(await savedMask(page), before)).toBe(1);
  await page.focus('#stage');
  await page.keyboard.press('Escape');
  await said(page, 'segment-status', /^Click on/);
  expect(await page.isDisabled('[data-save=png]')).toBe(true);
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('Enter');
  await said(page, 'segment-status', /^Mask in/);
});

test('a dragged box gives the mask that Node gives', async () => {
  await page.click('#clear');
  const box = [120, 60, 280, 200] as const;
  const from = await onStage(page, 'stage', [box[0], box[1]]);
  const to = await onStage(page, 'stage', [box[2], box[3]]);
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move(to.x, to.y);
  await page.mouse.up();
  await said(page, 'segment-status', /^Mask in/);
  const theirs = await inNode({ model: files.slim, scene: 1, box });
  expect(maskIou(await savedMask(page), bytesOf(theirs.mask!))).toBeGreaterThanOrEqual(0.99);
});

test('everything mode finds masks; one is chosen and saved as PNG and cut-out', async () => {
  await page.click('#everything');
  const text = await said(page, 'segment-status', /\d+ masks;/);
  expect(Number(/\d+/.exec(text)![0])).toBeGreaterThan(1);
  const { x, y } = await pointAtMask(page);
  await page.mouse.click(x, y);
  await said(page, 'segment-status', /is chosen/);
  for (const kind of ['png', 'cutout']) {
    const timeout = 60_000; // the pointer leaves the stage for the button: the mask that was clicked stays chosen
    const [download] = await Promise.all([
      page.waitForEvent('download', { timeout }),
      page.click(`[data-save=${kind}]`, { timeout }),
    ]);
    expect(download.suggestedFilename()).toMatch(/\.png$/);
  }
});

test('two models on one picture: both masks and their IoU', async () => {
  await page.goto(`${opened.address}#compare`);
  const { x, y } = await onStage(page, 'compare-stage', [200, 120]);
  await page.mouse.click(x, y);
  await said(page, 'compare-status', /Move the divide/);
  expect(Number(await page.textContent('#iou'))).toBeGreaterThan(0.3);
  await page.goto(`${opened.address}#segment`);
});

test('files that are no picture or no model are one message with the cure, and the page goes on', async () => {
  const give = async (action: () => Promise<unknown>, name: string, buffer: Buffer) => {
    await pick(page, action, { name, mimeType: 'image/jpeg', buffer });
    return message(page);
  };
  const open = (name: string, bytes: Buffer) => give(() => page.click('[data-open=picture]'), name, bytes);
  const chooseModel = () => page.selectOption('#segment-model', 'file');
  expect(await open('notes.jpg', Buffer.from('no picture at all'))).toMatch(/no picture that the browser can decode/);
  const heic = Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from('ftypheic'), Buffer.alloc(64)]);
  expect(await open('photo.heic', heic)).toMatch(/HEIC.*save it as JPEG/);
  const large = await maskPng(new Uint8Array(1e8), { width: 10_000, height: 10_000 });
  expect(await open('large.png', Buffer.from(large))).toMatch(/at most 64 megapixels, got 10000 x 10000/);

  expect(await give(chooseModel, 'notes.safetensors', Buffer.from('no model'))).toMatch(/no Segment Anything model/);
  const huge = path.join(tmpdir(), `slimsam-2gb-${process.pid}.safetensors`);
  writeFileSync(huge, '');
  truncateSync(huge, 2_000_000_000);
  await pick(page, chooseModel, huge);
  expect(await message(page)).toMatch(/at most 1\.5 GB, got .* of 2\.0 GB; a tab cannot hold it/);
  rmSync(huge);

  const { x, y } = await onStage(page, 'stage', [200, 120]);
  await page.click('#clear');
  await page.mouse.click(x, y);
  await said(page, 'segment-status', /^Mask in/);
});

test('models of the Hub, at an address and of the repository are opened; one that is too large is refused before it is fetched', async () => {
  const headers = { 'access-control-allow-origin': '*', 'access-control-expose-headers': '*' };
  await page.route('https://huggingface.co/tester/slim/resolve/main/*', (route) =>
    route.request().url().endsWith('/model.safetensors')
      ? route.fulfill({ path: files.slim, headers, contentType: 'application/octet-stream' })
      : route.fulfill({ status: 404, headers }),
  );
  await page.route('https://huggingface.co/tester/none/**', (route) => route.fulfill({ status: 404, headers }));
  await page.route('https://models.test/huge.safetensors', (route) =>
    route.fulfill({
      ...{ status: 206, body: 'the start', contentType: 'application/octet-stream' },
      headers: { ...headers, 'content-range': 'bytes 0-1999999999/2000000000' },
    }),
  );
  const open = async (place: string) => {
    await page.selectOption('#segment-model', 'place');
    await page.fill('#place-text', place);
    await page.click('#place button:has-text("Open")');
  };
  const chosen = (name: string) =>
    page.waitForFunction(
      (name) => (document.getElementById('segment-model') as HTMLSelectElement).selectedOptions[0]?.text === name,
      name,
    );
  await open('https://models.test/huge.safetensors');
  expect(await message(page)).toMatch(/at most 1\.5 GB, got .*huge\.safetensors of 2\.0 GB; a tab cannot hold it/);
  await open('no id');
  expect(await message(page)).toMatch(/expected a Hub id such as .* or an address/);
  await open('tester/none');
  expect(await message(page)).toMatch(/model could not be fetched\. Look at its id or address/);
  await open('tester/slim');
  await chosen('tester/slim');
  expect(await page.textContent('#segment-model')).toMatch(/sam-s \(47 MB\)sam-s-slim50 \(14 MB\)/);
  await page.selectOption('#segment-model', 'served sam-s-slim77');
  await chosen('sam-s-slim77');
  expect(await page.textContent('#facts')).toMatch(/sam-s-slim772\.\d\d M/);
});

test('times of a dropped photograph: the first mask and later ones', async () => {
  await page.selectOption('#segment-model', { label: 'slim, 50 %' });
  const photograph = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(1024, 768);
    const context = canvas.getContext('2d')!;
    for (let i = 0; i < 60; i++) {
      context.fillStyle = `hsl(${i * 47} 70% ${30 + (i % 5) * 10}%)`;
      context.fillRect((i * 211) % 1024, (i * 137) % 768, 160, 120);
    }
    return [...new Uint8Array(await (await canvas.convertToBlob({ type: 'image/jpeg' })).arrayBuffer())];
  });
  const file = await page.evaluateHandle((bytes) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], 'photograph.jpg', { type: 'image/jpeg' }));
    return transfer;
  }, photograph);
  const start = performance.now();
  await page.dispatchEvent('#stages', 'drop', { dataTransfer: file });
  await page.waitForSelector('#stage[width="1024"]');
  const times: number[] = [];
  for (const at of [
    [300, 200],
    [500, 400],
    [700, 300],
    [200, 600],
  ] as const) {
    const before = times.length === 0 ? start : performance.now();
    const { x, y } = await onStage(page, 'stage', at);
    await page.mouse.click(x, y);
    await said(page, 'segment-status', /^Mask in/);
    times.push(performance.now() - before);
  }
  const [first, ...later] = times.map((time) => time.toFixed(0));
  console.log(`from the drop of 1024 x 768 pixels to the first mask ${first} ms; later clicks ${later.join(', ')} ms`);
  expect(await savedMask(page)).toHaveLength(1024 * 768);
});

/** A place with one of everything's masks: it is shown alone under the pointer, and can be saved. */
async function pointAtMask(page: Page): Promise<{ x: number; y: number }> {
  for (let y = 8; y < 256; y += 16) {
    for (let x = 8; x < 384; x += 16) {
      const at = await onStage(page, 'stage', [x, y]);
      await page.mouse.move(at.x, at.y);
      if (await page.isEnabled('[data-save=png]')) return at;
    }
  }
  throw new Error('everything mode: expected a mask somewhere on the picture, got none');
}
