/** The commands of the documentation, each run in a folder with data of the names that they use, at tiny sizes. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateScenes } from '@slimsam/scenes';
import { initSam, initVit, parseVitConfig, samPresets, saveSam, saveVit } from '@slimsam/vit';
import { exportOnnx } from '@slimsam/vit/onnx';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runProgram as runEvalProgram } from '../../packages/eval/src/cli/program.ts';
import { runProgram } from '../../packages/slimsam/src/cli/program.ts';
import { capturedOutput } from '../../packages/slimsam/test/captured-output.ts';
import { commands, pages } from './pages.ts';

const start = process.cwd();
let work = '';
const output = capturedOutput();

/** Folders with drawn scenes, and how many. */
const scenes: Readonly<Record<string, number>> = {
  ...{ photographs: 6, labelled: 2, 'sa1b/train': 6, 'sa1b/held': 1, 'sa1b/test': 2 },
  ...{ TRAIN: 2, TEST: 2, IMAGES: 2, 'coco/val2017': 2, 'bsds/images': 1 },
};

/** A folder's annotations as one file of COCO's, and as what a detector found. */
function writeCoco(folder: string, { instances, detections }: { instances: string; detections?: string }): void {
  const pairs = readdirSync(folder).filter((name) => name.endsWith('.json'));
  const parsed = pairs.map((name) => JSON.parse(readFileSync(path.join(folder, name), 'utf8')));
  const images = parsed.map(({ image }, i) => ({ ...image, id: i + 1 }));
  const annotations = parsed
    .flatMap(({ annotations }, i) => annotations.map((one: object) => ({ ...one, image_id: i + 1 })))
    .map((one, i) => ({ ...one, id: i + 1, category_id: 1, iscrowd: 0 }));
  writeFileSync(instances, JSON.stringify({ images, annotations, categories: [{ id: 1, name: 'object' }] }));
  const found = annotations.map(({ image_id, bbox }) => ({ image_id, category_id: 1, bbox, score: 0.9 }));
  if (detections) writeFileSync(detections, JSON.stringify(found));
}

beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-commands-'));
  process.chdir(work);
  await tf.setBackend('cpu');
  for (const [folder, count] of Object.entries(scenes)) await generateScenes({ folder, count, seed: 1, size: 96 });
  await generateScenes({ folder: 'large', count: 1, seed: 1, size: 400 });
  cpSync('large/sa_1.jpg', 'photo.jpg');
  writeCoco('coco/val2017', { instances: 'instances_val2017.json', detections: 'detections.json' });
  writeCoco('IMAGES', { instances: 'instances.json' });
  mkdirSync('bsds/boundaries');
  const edge = Uint8Array.from({ length: 96 * 96 }, (_, i) => (i % 96 === 40 ? 255 : 0));
  await sharp(edge, { raw: { width: 96, height: 96, channels: 1 } })
    .png()
    .toFile('bsds/boundaries/sa_1-1.png');
  const { config, sizes } = samPresets.tiny;
  const sam = { config, weights: initSam(config, sizes, { seed: 1 }) };
  mkdirSync('examples/teacher', { recursive: true });
  for (const name of ['sam', 'slim', 'teacher', 'examples/teacher/teacher']) await saveSam(`${name}.safetensors`, sam);
  cpSync('sam.safetensors', 'sam_vit_b_01ec64.pth'); // the content decides
  for (const name of ['sam-s', 'sam-s-slim50', 'sam-s-slim77']) {
    mkdirSync(`models/${name}`, { recursive: true });
    await saveSam(`models/${name}/model.safetensors`, sam);
  }
  for (const folder of ['FOLDER', 'onnx']) await exportOnnx(folder, sam);
  const plain = parseVitConfig({ imageSize: [56, 56], heads: 2, headWidth: 16 });
  mkdirSync('dinov2-small');
  const weights = initVit(plain, { depth: 2, mlpWidth: 64, patchSize: 14, layerScale: 1 }, { seed: 1 });
  await saveVit('dinov2-small/model.safetensors', { weights, config: plain });
});
afterAll(() => {
  process.chdir(start);
  rmSync(work, { recursive: true, force: true });
});

/** What makes a subcommand short; a later option takes the place of an earlier one. */
const short: Readonly<Record<string, string>> = {
  compress: '--epochs 1 --steps 1 --sample 2 --held 1',
  ablate: '--rows scratch --ratios 0.5 --seeds 1 --epochs 1 --steps 1 --sample 2 --held 1',
  train: '--steps 8 --every 8 --chunk 8 --batch 1 --prompts 2 --warmup 1 --threads 0 --size 56',
  costs: '--rounds 1',
};
/** Needs a broker; packages/queue's tests run it. */
const elsewhere = / --queue |^(worker|queue|store) /;

const found = pages.flatMap((page) =>
  [...commands(page), ...[...page.text.matchAll(/`(npm run slimsam[^`]+|npx slimsam[^`]+)`/g)].map(([, line]) => line!)]
    .map((line) => /^(?:npm run|npx) (slimsam|slimsam-eval)(?: --)? (.*)$/s.exec(line.replaceAll(/\s+/g, ' ')))
    .filter((match) => match !== null)
    .map(([, program, words]) => ({ file: page.file, program: program!, words: words! })),
);
const unique = [...new Map(found.map((one) => [`${one.program} ${one.words}`, one])).values()].filter(
  ({ words }) => !elsewhere.test(`${words} `) && !/[A-Z…]+…|random:/.test(words),
);

test.each(unique)('$file: $program $words', async ({ program, words }) => {
  const signal = new AbortController().signal;
  const list = words
    .replaceAll('MODEL', 'sam.safetensors')
    .replace(/--subset \d+/, '--subset 4')
    .replace(/--small \d+/, '--small 32')
    .replace(/--reconstruct \d+/, '--reconstruct 2')
    .split(' ');
  const whole = [...list, ...(short[list[0]!]?.split(' ') ?? [])];
  const at = (option: string) => (whole.includes(option) ? whole[whole.indexOf(option) + 1] : undefined);
  const target = at('--run') ?? at('--out');
  if (target && list[0] !== 'report') rmSync(target, { recursive: true, force: true }); // another command's of the same name
  const run = program === 'slimsam-eval' ? runEvalProgram : (line: readonly string[]) => runProgram(line, signal);
  expect(await run(whole), output.err).toBe(0);
  if (target) expect(existsSync(target)).toBe(true);
});

test('most commands were found', () => {
  expect(unique.length).toBeGreaterThan(25);
});
