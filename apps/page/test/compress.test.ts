import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import '@tensorflow/tfjs-backend-cpu';
import { loadSam } from '@slimsam/vit';
import * as tf from '@tensorflow/tfjs-core';
import type { Page } from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Opened, openPage } from './open-page.ts';
import { files, inNode, message, pick, ready, said } from './support.ts';

let opened: Opened;
let page: Page;
let work = '';
const settings = { model: 'teacher', ratio: 0.5, epochs: 1, batch: 8, learningRate: 0.001, seed: 1 };

beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-page-'));
  opened = await openPage();
  page = await opened.browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(1_500_000);
  await page.goto(`${opened.address}#compress`);
  await ready(page);
});
afterAll(async () => {
  rmSync(work, { recursive: true, force: true });
  await opened?.close();
});

async function begin(): Promise<void> {
  await page.click('summary:has-text("Training")');
  for (const [id, value] of [
    ['epochs', settings.epochs],
    ['batch', settings.batch],
    ['rate', settings.learningRate],
  ] as const)
    await page.fill(`#${id}`, String(value));
  await page.click('#start');
}

test('a whole compression of 64 drawn scenes, paused, reloaded and gone on with, gives the weights that Node gives', async () => {
  const node = inNode({ model: files.teacher, scenes: 64, settings, out: path.join(work, 'node.safetensors') });
  await page.click('#use-scenes');
  await begin();
  await said(page, 'run-status', /align the bottleneck: step 2/);
  await page.click('#pause');
  await said(page, 'run-status', /^Paused/);
  await page.reload();
  await ready(page);
  await page.click('#go-on');
  await said(page, 'run-status', /align the bottleneck: step [3-9]/);
  await said(page, 'run-status', /^Done: 0\.6\d M parameters/);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-files=safetensors]')]);
  await download.saveAs(path.join(work, 'page.safetensors'));
  expect((await node).adapter).toMatch(/SwiftShader/i);
  await tf.setBackend('cpu');
  const [ours, theirs] = await Promise.all(
    ['page', 'node'].map((name) => loadSam(path.join(work, `${name}.safetensors`))),
  );
  expect(Object.keys(ours!.weights).sort()).toEqual(Object.keys(theirs!.weights).sort());
  let worst = 0;
  for (const [name, weight] of Object.entries(ours!.weights)) {
    const [a, b] = [await weight.data<'float32'>(), await theirs!.weights[name]!.data<'float32'>()];
    expect(weight.shape).toEqual(theirs!.weights[name]!.shape);
    const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    worst = Math.max(worst, a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0) / largest);
  }
  console.log(`largest difference of a weight, as a share of the largest in its tensor: ${worst.toExponential(1)}`);
  expect(worst).toBeLessThanOrEqual(1e-4);
  for (const when of ['before', 'now']) expect(await page.isVisible(`#preview-${when}`)).toBe(true);
  const onnx: string[] = [];
  page.on('download', (file) => onnx.push(file.suggestedFilename()));
  await page.click('[data-files=onnx]');
  await expect.poll(() => onnx.sort(), { timeout: 60_000 }).toEqual(['decoder.onnx', 'encoder.onnx']);
  await page.click('#open-slim');
  expect(await page.locator('#segment-model option:checked').textContent()).toBe('made here');
});

test('a damaged photograph among others is named; the GPU lost in an epoch costs nothing that was saved; a full quota is told', async () => {
  await page.goto(`${opened.address}#compress`);
  const picture = (seed: number) =>
    page.evaluate(async (seed) => {
      const canvas = new OffscreenCanvas(64, 48);
      const context = canvas.getContext('2d')!;
      for (let i = 0; i < 12; i++) {
        context.fillStyle = `hsl(${(seed * 67 + i * 30) % 360} 80% 50%)`;
        context.fillRect((i * 13 + seed * 5) % 64, (i * 7) % 48, 20, 16);
      }
      return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
    }, seed);
  const photographs = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(async (seed) => Buffer.from(await picture(seed))));
  const asFiles = [
    ...photographs.map((buffer, i) => ({ name: `photo ${i}.png`, mimeType: 'image/png', buffer })),
    { name: 'damaged.png', mimeType: 'image/png', buffer: photographs[0]!.subarray(0, 60) },
  ];
  await pick(page, () => page.click('#choose-photographs'), asFiles);
  await said(page, 'photographs', /9 photographs/);
  await begin();
  await page.waitForSelector('#skipped li');
  expect(await page.textContent('#skipped')).toMatch(/damaged\.png is left out/);
  await said(page, 'run-status', /align the bottleneck: step 1/);
  const session = await opened.browser.newBrowserCDPSession();
  await session.send('Browser.crashGpuProcess').catch(() => {}); // the answer may be lost with it
  expect(await message(page)).toMatch(/The GPU was lost .* goes on from what was saved/);
  await ready(page);
  await page.click('#go-on');
  await said(page, 'run-status', /^Done/);

  const storage = await page.context().newCDPSession(page);
  await storage.send('Storage.overrideQuotaForOrigin', { origin: new URL(opened.address).origin, quotaSize: 100_000 });
  await page.click('#start');
  expect(await message(page)).toMatch(/storage for the page is full\. Free some disk space/);
});
