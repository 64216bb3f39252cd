import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Opened, openPage } from './open-page.ts';
import { onStage, ready, root, said } from './support.ts';

let opened: Opened;
const folder = path.join(root, 'out/page');

beforeAll(async () => {
  opened = await openPage();
  mkdirSync(folder, { recursive: true });
});
afterAll(() => opened?.close());

/** Views, themes and widths: nothing serious for axe, nothing wider than the screen, and a screenshot of each in out/page. */
test('every view in both themes, at 360 pixels and at 4K', async () => {
  const context = await opened.browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(1_200_000);
  await page.goto(opened.address);
  await ready(page);
  await page.click('[data-open=scene]');
  await page.waitForSelector('#stage:not([hidden])');
  for (const [view, stage, status] of [
    ['segment', 'stage', /^Mask in/],
    ['compare', 'compare-stage', /Move the divide/],
    ['compress', undefined, undefined],
  ] as const) {
    await page.click(`nav a[href="#${view}"]`);
    if (stage) {
      const { x, y } = await onStage(page, stage, [200, 120]);
      await page.mouse.click(x, y);
      await said(page, `${view}-status`, status);
    }
    for (const theme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme: theme });
      const { violations } = await new AxeBuilder({ page }).analyze();
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
      expect(serious.map(({ id, nodes }) => `${view} ${theme} ${id}: ${nodes[0]?.html}`)).toEqual([]);
      for (const [name, width, height] of [
        ['360', 360, 740],
        ['1280', 1280, 900],
        ['4k', 3840, 2160],
      ] as const) {
        await page.setViewportSize({ width, height });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        expect(overflow, `${view} at ${width} pixels`).toBeLessThanOrEqual(0);
        if (name !== '4k' || theme === 'light')
          await page.screenshot({ path: path.join(folder, `${view}-${theme}-${name}.png`), fullPage: name === '360' });
      }
      await page.setViewportSize({ width: 1280, height: 900 });
    }
  }
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
