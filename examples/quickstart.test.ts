import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateScenes } from '@slimsam/scenes';
import { loadSam } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
let work = '';
const at = (...names: string[]): string => path.join(work, ...names);

beforeAll(async () => {
  await tf.setBackend('cpu');
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-quickstart-'));
  mkdirSync(at('empty'));
  writeFileSync(at('file'), '');
  await generateScenes({ folder: at('photos'), count: 5, seed: 1 });
  truncateSync(at('photos', 'sa_2.jpg'), 2000);
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

interface Run {
  readonly env?: Record<string, string>;
  /** Ctrl-C as soon as the output has this. */
  readonly stopAt?: RegExp;
}

/** Runs the quickstart as a user would. */
function quickstart(options: string[], { env, stopAt }: Run = {}): Promise<{ code: number | null; output: string }> {
  const program = ['--conditions=@slimsam/source', '--import', 'tsx', 'examples/quickstart.ts'];
  const child = spawn(process.execPath, [...program, ...options], { cwd: root, env: { ...process.env, ...env } });
  let output = '';
  let stopped = false;
  const hear = (text: Buffer) => {
    output += text;
    if (!stopped && stopAt?.test(output)) stopped = child.kill('SIGINT');
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

test.each([
  ['a missing folder', ['--images', 'nowhere'], /expected .*nowhere/],
  ['an empty folder', ['--images', 'empty'], /expected JPEG, PNG.* files in '.*empty', got 0/],
  [
    'a truncated JPEG, strictly',
    ['--images', 'photos', '--strict', '--tests', '1'],
    /expected every file to be a photograph.*sa_2[.]jpg/,
  ],
  ['a ratio of 1', ['--ratio', '1'], /--ratio.*'1' is invalid. expected a number in \[0, 1\)/],
  ['no epochs', ['--epochs', '0'], /--epochs.*expected a positive integer/],
  ['an unknown option', ['--rato', '0.5'], /unknown option '--rato'/],
  [
    'an unknown backend',
    ['--backend', 'cuda'],
    /'cuda' is invalid. Allowed choices are webgpu, cpu, wasm, tfjs-node, tfjs-node-gpu, auto/,
  ],
  ['a file in the place of the results', ['--out', 'file'], /EEXIST.*file/],
])('%s is one clear error', async (name, options, message) => {
  const paths = options.map((word) => (existsSync(at(word)) || word === 'nowhere' ? at(word) : word));
  const folder = at('failed', name.replaceAll(' ', '-'));
  const out = options.includes('--out') ? [] : ['--out', folder];
  const { code, output } = await quickstart([...paths, ...out]);
  expect(output).toMatch(message);
  expect(output).not.toMatch(/^\s+at /m);
  expect(code).toBe(1);
  // images are read when their turn comes: scenes to test on are there by then
  const written = existsSync(folder) ? readdirSync(folder).filter((file) => !/^(run|test-\d+)$/.test(file)) : [];
  expect(written).toEqual([]);
});

test('no adapter is one clear error', async () => {
  const none = at('none.json');
  const { code, output } = await quickstart(['--out', at('failed')], {
    env: { VK_ICD_FILENAMES: none, VK_DRIVER_FILES: none, SLIMSAM_ADAPTER: 'lavapipe' },
  });
  expect(output).toMatch(/expected an adapter, got none; install/);
  expect(output).not.toMatch(/[.]ts:/);
  expect(code).toBe(1);
});

test('stopped by Ctrl-C in stage 2 it goes on, and everything is written', async () => {
  const options = ['--images', at('photos'), '--epochs', '2', '--tests', '2', '--out', at('out')];
  const first = await quickstart(options, { stopAt: /prune the bottleneck: / });
  expect(first.output).toMatch(/stopped; the same command goes on/);
  expect(first.code).toBe(1);
  expect(readdirSync(at('out')).filter((name) => !/^(test-2|run)$/.test(name))).toEqual([]);

  const second = await quickstart(options);
  expect(second.output).toMatch(/skipped 1: .*sa_2[.]jpg/);
  expect(second.output).not.toMatch(/align the bottleneck:/); // it was done
  expect(second.code).toBe(0);
  const written = readdirSync(at('out'));
  expect(written).toEqual(expect.arrayContaining(['slim.safetensors', 'config.json', 'results.json', 'report.html']));
  expect(written.filter((name) => /^run$|tmp/.test(name))).toEqual([]);
  expect(written.filter((name) => name.endsWith('.png')).length).toBeGreaterThan(2);
  const results = JSON.parse(readFileSync(at('out', 'results.json'), 'utf8'));
  for (const model of ['teacher', 'pruned', 'slim']) {
    const { params, macs, macsWithAttention, miou, latencyMs } = results[model];
    expect([params, macs, macsWithAttention, latencyMs].every((value) => value > 0)).toBe(true);
    expect(miou).toBeGreaterThanOrEqual(0);
    expect(miou).toBeLessThanOrEqual(1);
  }
  const slim = await loadSam(at('out', 'slim.safetensors'));
  expect(slim.config).toEqual(JSON.parse(readFileSync(at('out', 'config.json'), 'utf8')));
  expect(results.slim.params).toBeLessThan(0.4 * results.teacher.params);
  expect(results).toMatchObject({ images: 4, skipped: 1, ratio: 0.5, epochs: 2, seed: 1, adapter: expect.any(String) });
  expect(results.seconds['align the embedding']).toBeGreaterThan(0);
}, 600_000);

test('a ratio of 0 keeps everything', async () => {
  const options = ['--images', at('photos'), '--ratio', '0', '--epochs', '1', '--tests', '1', '--out', at('whole')];
  const { code, output } = await quickstart(options);
  expect(output).toMatch(/report: /);
  expect(code).toBe(0);
  const { teacher, slim } = JSON.parse(readFileSync(at('whole', 'results.json'), 'utf8'));
  expect(slim.params).toBe(teacher.params);
  expect(slim.miou).toBeCloseTo(teacher.miou, 2);
}, 300_000);
