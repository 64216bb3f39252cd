import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type CompressedRle, decodeRle } from '@slimsam/eval';
import type { FileChooser, Page } from 'playwright';
import { swiftshaderEnvironment } from '../../../scripts/setup/swiftshader.mjs';
import type { Settings } from '../src/worker/storage.ts';
import type { Asked, Printed } from './in-node.ts';

export const root = fileURLToPath(new URL('../../..', import.meta.url));
export const files = {
  teacher: path.join(root, 'examples/teacher/teacher.safetensors'),
  slim: path.join(root, 'apps/page/models/slim.safetensors'),
};

/** Waits until the page's models are loaded. */
export async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() =>
    /without a GPU|no WebGPU/.test(document.getElementById('adapter')?.textContent ?? ''),
  );
}

/** Waits until a status says something. */
export async function said(page: Page, id: string, pattern: RegExp): Promise<string> {
  await page.waitForFunction(
    ([id, source]) => new RegExp(source!).test(document.getElementById(id!)?.textContent ?? ''),
    [id, pattern.source],
  );
  return (await page.textContent(`#${id}`)) ?? '';
}

/** Presses start, with numbers of the training. */
export async function startCompression(
  page: Page,
  { epochs, batch, learningRate, sample }: Pick<Settings, 'epochs' | 'batch' | 'learningRate' | 'sample'>,
): Promise<void> {
  await page.click('summary:has-text("Training")');
  for (const [id, value] of Object.entries({ epochs, batch, rate: learningRate, sample }))
    await page.fill(`#${id}`, String(value));
  await page.click('#start');
}

/** The one message, once it is there; it is closed. */
export async function message(page: Page): Promise<string> {
  await page.waitForSelector('#message:not([hidden])', { timeout: 600_000 });
  const text = (await page.textContent('#message p')) ?? '';
  await page.click('#message button');
  return text;
}

/** Gives files to the picker that an action opens; without one who answers, headless Chromium cancels it at once. */
export async function pick(
  page: Page,
  action: () => Promise<unknown>,
  files: Parameters<FileChooser['setFiles']>[0],
): Promise<void> {
  const [chooser] = await Promise.all([page.waitForEvent('filechooser', { timeout: 60_000 }), action()]);
  await chooser.setFiles(files);
}

/** Where a pixel of the picture lies on the page. */
export async function onStage(
  page: Page,
  id: string,
  [x, y]: readonly [number, number],
): Promise<{ x: number; y: number }> {
  return page.locator(`#${id}`).evaluate(
    (canvas: HTMLCanvasElement, [x, y]) => {
      canvas.scrollIntoView({ block: 'center' });
      const rect = canvas.getBoundingClientRect();
      const scale = Math.min(rect.width / canvas.width, rect.height / canvas.height);
      return {
        x: rect.left + (rect.width - canvas.width * scale) / 2 + (x! + 0.5) * scale - 0.25 * scale,
        y: rect.top + (rect.height - canvas.height * scale) / 2 + (y! + 0.5) * scale - 0.25 * scale,
      };
    },
    [x, y],
  );
}

/** The mask that the page saves: nothing is computed on the GPU for it, so that a minute without it is an error. */
export async function savedMask(page: Page): Promise<Uint8Array> {
  const timeout = 60_000;
  const [download] = await Promise.all([
    page.waitForEvent('download', { timeout }),
    page.click('[data-save=rle]', { timeout }),
  ]);
  return decodeRle(JSON.parse(readFileSync(await download.path(), 'utf8')) as CompressedRle);
}

/** Runs in-node.ts on SwiftShader, the page's adapter. */
export async function inNode(asked: Asked): Promise<Printed> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--conditions=@slimsam/source', '--import', 'tsx', 'apps/page/test/in-node.ts', JSON.stringify(asked)],
    { cwd: root, env: { ...process.env, ...swiftshaderEnvironment() }, maxBuffer: 2 ** 26 },
  );
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Printed;
}

export const bytesOf = (mask: string): Uint8Array => Uint8Array.from(mask, Number);
