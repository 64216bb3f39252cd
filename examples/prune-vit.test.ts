import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateScenes } from '@slimsam/scenes';
import { initVit, loadVit, parseVitConfig, saveVit, vitFeatures } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
let work = '';
const at = (...names: string[]): string => path.join(work, ...names);

beforeAll(async () => {
  await tf.setBackend('cpu');
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-prune-vit-'));
  await generateScenes({ folder: at('photos'), count: 5, seed: 1 });
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Runs the example as a user would. */
function pruneVit(options: string[]): Promise<{ code: number; output: string }> {
  const program = ['--conditions=@slimsam/source', '--import', 'tsx', 'examples/prune-vit.ts'];
  return new Promise((resolve) => {
    execFile(process.execPath, [...program, ...options], { cwd: root }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), output: stdout + stderr }),
    );
  });
}

/** The errors of the features that it printed, before aligning and after each epoch. */
const errorsIn = (output: string): number[] =>
  [...output.matchAll(/epoch \d+, error (\S+)/g)].map(([, error]) => Number(error));

test('prunes a checkpoint by a quarter, aligns and saves it', async () => {
  const config = parseVitConfig({ imageSize: [32, 48], heads: 2, headWidth: 8 });
  const weights = initVit(config, { depth: 2, mlpWidth: 32, patchSize: 8, registers: 1, layerScale: 1 }, { seed: 4 });
  await saveVit(at('vit.safetensors'), { weights, config });
  const files = ['--images', at('photos'), '--checkpoint', at('vit.safetensors'), '--out', at('slim.safetensors')];
  const { code, output } = await pruneVit([...files, '--epochs', '8']);
  expect(output).toContain(`saved: ${at('slim.safetensors')}`);
  expect(code).toBe(0);
  const errors = errorsIn(output);
  expect(errors).toHaveLength(9);
  expect(errors[8]!).toBeLessThan(0.9 * errors[0]!);

  const slim = await loadVit(at('slim.safetensors'));
  expect(slim.config).toEqual(config);
  const rows = [0, 1].map((i) => slim.weights[`blocks.${i}.attn.qkv.weight`]!.shape[0]!);
  const hidden = [0, 1].map((i) => slim.weights[`blocks.${i}.mlp.fc1.weight`]!.shape[0]!);
  expect([rows[0]! + rows[1]!, hidden[0]! + hidden[1]!]).toEqual([0.75 * 2 * 48, 0.75 * 2 * 32]);
  const { tokens } = vitFeatures(slim.weights, slim.config, tf.zeros([1, 3, 32, 48]));
  expect(tokens.shape).toEqual([1, 1 + 1 + 24, 16]);
  expect((await tokens.data()).every(Number.isFinite)).toBe(true);
});

test('without a checkpoint it makes a small ViT', async () => {
  const options = ['--images', at('photos'), '--epochs', '1', '--ratio', '0.5', '--out', at('new.safetensors')];
  const { code, output } = await pruneVit(options);
  expect(output).toMatch(/\d+ parameters -> \d+/);
  expect(errorsIn(output)).toHaveLength(2);
  expect(code).toBe(0);
  expect(existsSync(at('new.safetensors'))).toBe(true);
});

test.each([
  [
    'a SAM',
    () => ['--images', at('photos'), '--checkpoint', `${root}examples/teacher/teacher.safetensors`],
    /of a SAM; loadSam loads it/,
  ],
  ['an empty folder', () => ['--images', at('empty')], /expected JPEG, PNG.* files in '.*empty', got 0/],
  ['no images', () => [], /--images <folder>' not specified/],
])('%s is one clear error', async (_, options, message) => {
  mkdirSync(at('empty'), { recursive: true });
  const { code, output } = await pruneVit([...options(), '--out', at('failed.safetensors')]);
  expect(output).toMatch(message);
  expect(output).not.toMatch(/^\s+at /m);
  expect(code).toBe(1);
  expect(readdirSync(work)).not.toContain('failed.safetensors');
});
