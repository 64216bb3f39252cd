import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as ort from 'onnxruntime-node';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const checkpoint = path.join(root, 'packages/vit/test/fixtures/sam-tiny/model.safetensors');
let work = '';
beforeAll(() => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-export-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Runs the program as a user would. */
const run = (...options: string[]) =>
  promisify(execFile)(
    process.execPath,
    ['--conditions=@slimsam/source', '--import', 'tsx', 'packages/slimsam/src/cli/main.ts', 'export', ...options],
    { cwd: root },
  );

test('exports a checkpoint to a folder that transformers.js and onnxruntime read', async () => {
  const folder = path.join(work, 'models');
  const options = ['--convention', 'transformers.js', '--dtype', 'F16', '--decoder-heads', '4'];
  const { stdout } = await run(checkpoint, '--onnx', folder, ...options);
  expect(stdout).toMatch(/onnx.vision_encoder_fp16\.onnx +0\.4 MB/);
  expect(readdirSync(folder).sort()).toEqual(['config.json', 'onnx', 'preprocessor_config.json']);
  const session = await ort.InferenceSession.create(path.join(folder, 'onnx/prompt_encoder_mask_decoder_fp16.onnx'));
  expect(session.outputNames).toEqual(['iou_scores', 'pred_masks']);
  await session.release();
});

test.each([
  [
    'an unknown convention',
    2,
    [checkpoint, '--onnx', 'x', '--convention', 'onnx'],
    /Allowed choices are segment-anything/,
  ],
  ['a missing checkpoint', 1, ['nowhere.pth', '--onnx', 'x'], /nowhere\.pth/],
  ['decoder heads that do not divide', 1, [checkpoint, '--onnx', 'x', '--decoder-heads', '5'], /that 5 heads divide/],
])('says in a line what is wrong with %s', async (_, code, options, message) => {
  const failed = await run(...options.map((option) => (option === 'x' ? path.join(work, 'x') : option))).catch(
    (e) => e,
  );
  expect(failed.code).toBe(code);
  expect(failed.stderr).toMatch(message);
  expect(failed.stderr).not.toMatch(/^ +at /m);
  expect(readdirSync(work)).not.toContain('x');
});
