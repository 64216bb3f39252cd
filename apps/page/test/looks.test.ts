import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkLooks } from './looks-of.ts';
import { type Opened, openPage } from './open-page.ts';
import { onStage, ready, said } from './support.ts';

let opened: Opened;

beforeAll(async () => {
  opened = await openPage();
});
afterAll(() => opened?.close());

test('the scripts of a visit are at most 250 kB, gzip', () => {
  const folder = path.join(opened.folder, 'assets');
  const scripts = readdirSync(folder).filter((name) => name.endsWith('.js'));
  const texts = new Map(scripts.map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]));
  const onDemand = new Set(
    [...texts.values()].flatMap((text) => [...text.matchAll(/import\([`'"]\.\/(.+?)[`'"]\)/g)].map(([, name]) => name)),
  );
  const bytesOf = (names: string[]) => names.reduce((sum, name) => sum + gzipSync(texts.get(name)!).length, 0);
  const bytes = bytesOf(scripts.filter((name) => !onDemand.has(name)));
  console.log(`scripts: ${(bytes / 1000).toFixed(1)} kB gzip; on demand: ${(bytesOf(scripts) - bytes) / 1000} kB`);
  expect(bytes).toBeLessThanOrEqual(250_000);
});

test('every view in both themes, at 360 pixels and at 4K', async () => {
  const context = await opened.browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(3_600_000);
  await page.goto(opened.address);
  await ready(page);
  await checkLooks(page, 'segment-empty');
  await page.click('[data-open=scene]');
  await page.waitForSelector('#stage:not([hidden])');
  await page.check('#both');
  for (const [view, stage, status] of [
    ['segment', 'stage', /^Mask in/],
    ['compare', 'compare-stage', /Move the divide/],
    ['compress', undefined, undefined],
  ] as const) {
    await page.click(`nav a[href="#${view}"]`);
    if (stage) {
      const { x, y } = await onStage(page, stage, [285, 80]);
      await page.mouse.click(x, y);
      await said(page, `${view}-status`, status);
      if (view === 'compare') await page.fill('#divide', '74'); // through the object
    }
    await checkLooks(page, view);
  }
  await page.click('nav a[href="#segment"]');
  await page.click('#everything');
  await said(page, 'segment-status', /\d+ masks;/);
  await checkLooks(page, 'everything');
  await context.close();
});

test('without WebGPU there is one message, and nothing else breaks', async () => {
  const context = await opened.browser.newContext();
  const page = await context.newPage();
  await page.route('**/worker-*.js', async (route) => {
    const response = await route.fetch();
    const body = `Object.defineProperty(navigator, 'gpu', { value: undefined });delete WorkerNavigator.prototype.gpu;\n${await response.text()}`;
    await route.fulfill({ response, body });
  });
  await page.goto(opened.address);
  await page.waitForSelector('#message:not([hidden])');
  expect(await page.textContent('#message p')).toMatch(/This browser has no WebGPU\. Use Chrome or Edge 113/);
  expect(await page.textContent('#adapter')).toBe('no WebGPU');
  await context.close();
});
