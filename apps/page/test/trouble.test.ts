import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { BrowserContext, CDPSession, Page } from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { difference } from './difference.ts';
import { type Opened, openPage } from './open-page.ts';
import { files, inNode, message, pick, ready, said, startCompression } from './support.ts';

let opened: Opened;
let context: BrowserContext;
let page: Page;
let tools: CDPSession;
let work = '';

/** Bytes of the origin's storage; the browser's own choice without. */
const quota = (quotaSize?: number) =>
  tools.send('Storage.overrideQuotaForOrigin', {
    origin: new URL(opened.address).origin,
    ...(quotaSize !== undefined && { quotaSize }),
  });

/** Photographs of the page's own drawing. */
const photograph = (seed: number): Promise<Buffer> =>
  page
    .evaluate(async (seed) => {
      const canvas = new OffscreenCanvas(64, 48);
      const context = canvas.getContext('2d')!;
      for (let i = 0; i < 12; i++) {
        context.fillStyle = `hsl(${(seed * 67 + i * 30) % 360} 80% 50%)`;
        context.fillRect((i * 13 + seed * 5) % 64, (i * 7) % 48, 20, 16);
      }
      return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
    }, seed)
    .then((bytes) => Buffer.from(bytes));

beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-page-'));
  opened = await openPage();
  context = await opened.browser.newContext({ viewport: { width: 1280, height: 900 } });
  page = await context.newPage();
  page.setDefaultTimeout(3_600_000);
  await page.goto(`${opened.address}#compress`);
  await ready(page);
  tools = await context.newCDPSession(page);
});
afterAll(async () => {
  rmSync(work, { recursive: true, force: true });
  await opened?.close();
});

const settings = { model: 'teacher', ratio: 0.5, epochs: 1, batch: 2, learningRate: 0.001, sample: 2, seed: 1 };

test('photographs that do not fit into the storage are one message, and nothing is left of them', async () => {
  const photographs = await Promise.all([1, 2].map(photograph));
  const asFiles = photographs.map((buffer, i) => ({ name: `photo ${i}.png`, mimeType: 'image/png', buffer }));
  await pick(page, () => page.click('#choose-photographs'), asFiles);
  await said(page, 'photographs', /2 photographs/);
  await quota(1000);
  await startCompression(page, settings);
  const told = await message(page);
  await quota();
  expect(told).toMatch(/storage for the page is full\. Free some disk space/);
  await said(page, 'run-status', /^Broken off/);
  expect(await page.isVisible('#go-on')).toBe(false);
});

test('a damaged photograph and a HEIC among others are named and left out', async () => {
  const photographs = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(photograph));
  const heic = Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from('ftypheic'), Buffer.alloc(64)]);
  const asFiles = [
    ...photographs.map((buffer, i) => ({ name: `photo ${i}.png`, mimeType: 'image/png', buffer })),
    { name: 'damaged.png', mimeType: 'image/png', buffer: photographs[0]!.subarray(0, 60) },
    { name: 'photo.heic', mimeType: 'image/heic', buffer: heic },
  ];
  await pick(page, () => page.click('#choose-photographs'), asFiles);
  await said(page, 'photographs', /10 photographs/);
  await page.click('#start');
  await said(page, 'skipped', /damaged\.png is left out.*photo\.heic is left out/);
  await said(page, 'run-status', /^Scoring/);
  await page.click('#stop');
  await said(page, 'run-status', /^Stopped; what was saved stays/);
});

test('starting anew asks before the run that is kept is removed', async () => {
  await page.fill('#scenes', '8');
  await page.click('#use-scenes');
  for (const answer of ['Cancel', 'Start and remove it']) {
    await page.click('#start');
    await page.waitForSelector('#replace[open]');
    expect(await page.textContent('#replace-what')).toMatch(/A run that is not done of teacher at 50 % is kept/);
    await page.click(`#replace button:has-text("${answer}")`);
    await page.waitForSelector('#start', { state: answer === 'Cancel' ? 'visible' : 'hidden' });
  }
  await said(page, 'run-status', /align the bottleneck: step \d/);
});

test('the GPU lost in the middle of an epoch is one message; the run goes on from what was saved', async () => {
  const browser = await opened.browser.newBrowserCDPSession();
  await browser.send('Browser.crashGpuProcess').catch(() => {}); // the answer may be lost with it
  expect(await message(page)).toMatch(/The GPU was lost .* goes on from what was saved/);
  await ready(page);
  await page.click('#go-on');
  await said(page, 'run-status', /align the bottleneck: step \d/);
});

test('a full storage in the middle of a run is one message; with space again, the run goes on', async () => {
  await quota(1000);
  await page.click('#pause', { timeout: 5000 }).catch(() => {}); // which saves; the run may be broken off before
  const told = await message(page);
  await quota();
  expect(told).toMatch(/storage for the page is full\. Free some disk space/);
  await said(page, 'run-status', /^Broken off; what was saved stays/);
  await page.click('#go-on');
  await said(page, 'run-status', /align the bottleneck: step \d|align the embedding|^Done/);
});

test('a tab that was hidden and frozen for a while goes on, to the end of its run', async () => {
  await tools.send('Page.setWebLifecycleState', { state: 'frozen' });
  await new Promise((resolve) => setTimeout(resolve, 5000));
  await tools.send('Page.setWebLifecycleState', { state: 'active' });
  await said(page, 'run-status', /^Done/);
});

test('after all that, its weights are those of an undisturbed run in Node', async () => {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-files=safetensors]')]);
  const [ours, theirs] = ['page', 'node'].map((name) => path.join(work, `${name}.safetensors`)) as [string, string];
  await download.saveAs(ours);
  const { adapter } = await inNode({ model: files.teacher, scenes: 8, settings, out: theirs });
  expect(adapter).toMatch(/SwiftShader/i);
  const worst = await difference(ours, theirs);
  console.log(`largest difference of a weight: ${worst.toExponential(1)} of the largest in its tensor`);
  expect(worst).toBeLessThanOrEqual(1e-4);
});
