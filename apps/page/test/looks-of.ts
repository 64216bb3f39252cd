import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from 'playwright';
import { expect } from 'vitest';
import { root } from './support.ts';

const folder = path.join(root, 'out/page');

const sizes = [
  ['360', 360, 740],
  ['1280', 1280, 900],
  ['4k', 3840, 2160],
] as const;

/** The page as it is, in both themes: nothing serious for axe, nothing wider than the screen, and pictures of it in out/page. */
export async function checkLooks(page: Page, name: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const theme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme: theme });
    const { violations } = await new AxeBuilder({ page }).analyze();
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    expect(serious.map(({ id, nodes }) => `${name} ${theme} ${id}: ${nodes[0]?.html}`)).toEqual([]);
    for (const [size, width, height] of sizes) {
      await page.setViewportSize({ width, height });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(overflow, `${name} at ${width} pixels`).toBeLessThanOrEqual(0);
      await page.screenshot({ path: path.join(folder, `${name}-${theme}-${size}.png`), fullPage: size === '360' });
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
}
