import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { BrowserContext, Page } from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { difference } from './difference.ts';
import { checkLooks } from './looks-of.ts';
import { type Opened, openPage } from './open-page.ts';
import { files, inNode, ready, said, startCompression } from './support.ts';

let opened: Opened;
let context: BrowserContext;
let page: Page;
let work = '';
const settings = { model: 'teacher', ratio: 0.5, epochs: 1, batch: 8, learningRate: 0.001, sample: 8, seed: 1 };

beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-page-'));
  opened = await openPage();
  context = await opened.browser.newContext({ viewport: { width: 1280, height: 900 } });
  page = await context.newPage();
  page.setDefaultTimeout(3_600_000);
});
afterAll(async () => {
  rmSync(work, { recursive: true, force: true });
  await opened?.close();
});

test('a whole compression of 64 drawn scenes, paused, reloaded and gone on with, gives the weights that Node gives', async () => {
  const [ours, theirs] = ['page', 'node'].map((name) => path.join(work, `${name}.safetensors`)) as [string, string];
  const node = inNode({ model: files.teacher, scenes: 64, settings, out: theirs });
  node.catch(() => {}); // told where it is awaited
  const sent: string[] = [];
  context.on('request', (request) => {
    if (request.method() !== 'GET' || !/^(data:|blob:)/.test(request.url()))
      sent.push(`${request.method()} ${request.url()}`);
  });
  await page.goto(`${opened.address}#compress`);
  await ready(page);
  await page.click('#use-scenes');
  await startCompression(page, settings);
  await said(page, 'run-status', /align the bottleneck: step \d/);
  await page.click('#pause');
  await said(page, 'run-status', /^Paused/);
  await checkLooks(page, 'compress-paused');
  await page.reload();
  await ready(page);
  await page.click('#go-on');
  await said(page, 'run-status', /^Done: 0\.6\d M parameters/);
  await checkLooks(page, 'compress-done');
  for (const when of ['before', 'now']) expect(await page.isVisible(`#preview-${when}`)).toBe(true);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-files=safetensors]')]);
  await download.saveAs(ours);
  expect(sent.filter((request) => !request.startsWith(`GET ${opened.address}`))).toEqual([]); // nothing left the tab

  const { adapter } = await node;
  expect(adapter).toMatch(/SwiftShader/i);
  const worst = await difference(ours, theirs);
  const { miou } = await inNode({ models: [ours, theirs], scenes: 6, folder: path.join(work, 'scenes') });
  console.log(
    `largest difference of a weight: ${worst.toExponential(1)} of the largest in its tensor; mIoU ${miou?.join(' and ')}`,
  );
  expect(worst).toBeLessThanOrEqual(1e-4);
  expect(Math.abs(miou![0]! - miou![1]!)).toBeLessThanOrEqual(0.01);
});

test('the slim model goes out as ONNX, segments, and is there after a reload until it is discarded', async () => {
  const onnx: string[] = [];
  page.on('download', (file) => onnx.push(file.suggestedFilename()));
  await page.click('[data-files=onnx]');
  await expect.poll(() => onnx.sort(), { timeout: 120_000 }).toEqual(['decoder.onnx', 'encoder.onnx']);
  await page.click('#open-slim');
  expect(await page.textContent('#segment-model option:checked')).toBe('made here: teacher, 50 %');
  await page.click('[data-open=scene]');
  await page.waitForSelector('#stage:not([hidden])');
  await page.focus('#stage');
  await page.keyboard.press('Enter');
  await said(page, 'segment-status', /^Mask in/);

  await page.goto(`${opened.address}#compress`);
  await page.reload();
  await ready(page);
  await page.click('#go-on');
  await said(page, 'run-status', /^Done: 0\.6\d M parameters/);
  await page.reload();
  await ready(page);
  await page.click('#discard');
  await page.waitForSelector('#go-on', { state: 'hidden' });
});
