import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { evaluateCoco, readDetections, readGroundTruth } from '@slimsam/eval';
import { generateScenes } from '@slimsam/scenes';
import { saveSam } from '@slimsam/vit';
import { exportOnnx } from '@slimsam/vit/onnx';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runProgram } from '../src/cli/program.ts';
import { capturedOutput } from './captured-output.ts';
import { tinySam } from './tiny.ts';

let work = '';
const at = (...names: string[]) => path.join(work, ...names);
const json = (...names: string[]) => JSON.parse(readFileSync(at(...names), 'utf8'));
beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-evaluate-'));
  await tf.setBackend('cpu');
  const sam = tinySam(5);
  await saveSam(at('sam.safetensors'), sam);
  await exportOnnx(at('onnx'), sam);
  await exportOnnx(at('folder'), sam, { convention: 'transformers.js' });
  await generateScenes({ folder: at('data'), count: 3, seed: 2, size: 64 });
  await generateScenes({ folder: at('train'), count: 2, seed: 3, size: 64 });
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

const printed = capturedOutput();

/** Runs `slimsam evaluate` on tfjs-backend-cpu; words that start with '@' are paths of the test's folder. */
const evaluate = (line: string) =>
  runProgram(
    [
      'evaluate',
      ...line.split(' ').map((word) => (word.startsWith('@') ? at(word.slice(1)) : word)),
      ...['--backend', 'cpu'],
    ],
    new AbortController().signal,
  );

/** The numbers of a run that --json printed. */
interface Summary {
  miou: number;
  click_miou: number[];
  masks: number;
  images: number;
}

async function summaryOf<T = Summary>(line: string): Promise<T> {
  printed.out = '';
  expect(await evaluate(`${line} --json`), printed.err).toBe(0);
  return JSON.parse(printed.out).summary;
}

test.each(['points', 'boxes', 'clicks --clicks 3', 'best-of-three'])(
  '%s: a SAM and its ONNX exports give the same numbers',
  async (protocol) => {
    const line = (model: string) =>
      `@${model} --data @data --protocol ${protocol} --out @${model}-${protocol.split(' ')[0]}`;
    const ours = await summaryOf(line('sam.safetensors'));
    expect(Math.abs((await summaryOf(line('onnx'))).miou - ours.miou)).toBeLessThan(0.001);
    const folder = await summaryOf(line('folder')); // always three masks, of which the one with the best score answers
    if (protocol === 'best-of-three') expect(Math.abs(folder.miou - ours.miou)).toBeLessThan(0.001);
    expect(ours.images).toBe(3);
  },
);

test('shards merge to the whole; a run that is done is read again; another model is refused', async () => {
  const whole = await summaryOf('@sam.safetensors --data @data --protocol points --out @sam.safetensors-points');
  for (const part of [1, 2])
    expect(
      await evaluate(`@sam.safetensors --data @data --protocol points --out @part-${part} --shard ${part}/2`),
    ).toBe(0);
  const { mergeResults } = await import('@slimsam/eval');
  expect(await mergeResults([at('part-2'), at('part-1')], { folder: at('merged') })).toEqual(whole);
  expect(await summaryOf('@sam.safetensors --data @data --protocol points --out @sam.safetensors-points')).toEqual(
    whole,
  );
  expect(await evaluate('@onnx --data @data --protocol points --out @sam.safetensors-points')).toBe(1);
  expect(printed.err).toMatch(/model: expected .* to go on with, got .*; use another folder/);
});

test('the disc: its radius is chosen on other images, and beats a random model', async () => {
  const line = '--data @data --protocol points --out @disc';
  const { miou } = await summaryOf(`disc --radius-from @train ${line}`);
  const random = await summaryOf('@sam.safetensors --data @data --protocol points --out @sam.safetensors-points');
  expect(miou).toBeGreaterThan(random.miou);
  expect(json('disc', 'config.json').model.name).toMatch(/^disc of \d+\.\d %$/);
});

/** The scenes' annotations as one COCO file. */
function writeCoco(change: (annotations: Record<string, unknown>[]) => void = () => {}): void {
  const files = [1, 2, 3].map((i) => json('data', `sa_${i}.json`));
  const annotations = files.flatMap(({ image, annotations: own }) =>
    own.map((one: Record<string, unknown>) => ({ ...one, image_id: image.image_id, category_id: 1, iscrowd: 0 })),
  );
  change(annotations);
  const images = files.map(({ image }) => ({ ...image, id: image.image_id }));
  writeFileSync(at('coco.json'), JSON.stringify({ images, annotations, categories: [{ id: 1, name: 'shape' }] }));
}

test('instances: the AP is that of the results file; a SAM and its ONNX export have the same', async () => {
  writeCoco();
  const line = '--data @data --annotations @coco.json --protocol instances';
  expect(await evaluate(`@sam.safetensors ${line} --out @instances-first`), printed.err).toBe(0);
  const first: { segmentation: object }[] = json('instances-first', 'results.json');
  // a random model overlaps with no shape: let its own masks be the truth of two annotations in three
  writeCoco((annotations) =>
    annotations.forEach((annotation, i) => {
      if (i % 3 > 0) annotation.segmentation = first[i]!.segmentation;
    }),
  );
  const names = ['sam.safetensors', 'onnx'] as const;
  const groundTruth = await readGroundTruth(at('coco.json'), { type: 'segm' });
  const found: number[] = [];
  for (const model of names) {
    const { stats } = await summaryOf<{ stats: object }>(`@${model} ${line} --out @instances-${model}`);
    const file = at(`instances-${model}`, 'results.json');
    const detections = await readDetections(file, groundTruth, { type: 'segm' });
    const expected = evaluateCoco({ groundTruth, detections, type: 'segm' }).stats;
    expect(Object.values(stats)).toEqual([...expected]);
    found.push(expected[0]!);
  }
  expect(found[0]).toBeGreaterThan(0.5);
  expect(found[0]).toBeLessThan(0.8);
  expect(Math.abs(found[1]! - found[0]!)).toBeLessThan(0.001);
});

test('instances from a detector’s boxes; bad records are an error, or skipped and listed', async () => {
  writeCoco();
  const line = '@onnx --data @data --annotations @coco.json --protocol instances';
  const boxes = json('coco.json').annotations.map((one: { image_id: number; bbox: number[] }) => ({
    ...{ image_id: one.image_id, category_id: 1, score: 0.5, bbox: one.bbox },
  }));
  writeFileSync(at('boxes.json'), JSON.stringify(boxes));
  const lvis = await summaryOf<{ stats: object }>(`${line} --lvis --boxes @boxes.json --out @lvis`);
  expect(Object.keys(lvis.stats)).toContain('APr');

  writeCoco((annotations) => Object.assign(annotations[1]!, { bbox: [1, 2, -3, 4] }));
  expect(await evaluate(`${line} --out @bad`)).toBe(1);
  expect(printed.err).toMatch(/coco\.json': annotations\[1\], id \d+: bbox\[2\]: .*>=0/);
  printed.out = '';
  expect(await evaluate(`${line} --out @bad --skip-bad --json`)).toBe(0);
  const result = JSON.parse(printed.out);
  expect(result.summary.bad).toBe(1);
  expect(result.skipped[0].record).toMatch(/^annotations\[1\]/);
  expect(json('bad', 'config.json').done.bad).toEqual(result.skipped);
});

test('edges: of boundaries beside the images', async () => {
  mkdirSync(at('people'));
  mkdirSync(at('photos'));
  const name = 'sa_1';
  await sharp(readFileSync(at('data', `${name}.jpg`))).toFile(at('photos', `${name}.jpg`));
  const line = new Uint8Array(64 * 64).fill(255, 64 * 20, 64 * 21);
  await sharp(line, { raw: { width: 64, height: 64, channels: 1 } })
    .png()
    .toFile(at('people', `${name}-1.png`));
  const { edges } = await summaryOf<{ edges: Record<string, number> }>(
    '@onnx --data @photos --truth @people --protocol edges --out @edges',
  );
  expect(Object.keys(edges)).toEqual(['ods', 'ods_threshold', 'ois', 'ap', 'r50']);
});

test.each([
  ['no folder for the results', '@onnx --data @data --protocol points', /expected --out, a results folder/],
  [
    'results without a protocol',
    '@sam.safetensors --data @data --out @x',
    /expected --protocol beside --out; one of points/,
  ],
  ['two models', '@onnx --data @data --against @onnx --protocol points --out @x', /expected one model with --protocol/],
  ['boxes for points', '@onnx --data @data --boxes @b --protocol points --out @x', /--boxes with --protocol instances/],
  ['edges without boundaries', '@onnx --data @data --protocol edges --out @x', /expected --truth/],
  ['a disc without images to choose on', 'disc --data @data --protocol points --out @x', /expected --radius-from/],
  [
    'a convention that is none',
    '@onnx --data @data --protocol points --out @x --convention sam',
    /--convention: expected segment-anything, /,
  ],
  [
    'no annotations there',
    '@onnx --data @data --annotations @no.json --protocol boxes --out @x',
    /no\.json': expected a JSON file, got ENOENT/,
  ],
  ['no images there', '@onnx --data @nowhere --protocol boxes --out @x', /expected a folder '.*nowhere'/],
])('%s', async (_name, line, message) => {
  expect(await evaluate(line)).toBe(1);
  expect(printed.err).toMatch(message);
});

test('costs: counts and memory of SlimSAM-77 from its shapes; latency of each part, in turns', async () => {
  const costs = (line: string) => runProgram(['costs', ...line.split(' '), '--json'], new AbortController().signal);
  expect(await costs('random:sam-vit-base@0.77 --rounds 0')).toBe(0);
  const counted = JSON.parse(printed.out).models['random:sam-vit-base@0.77'];
  expect(counted).toMatchObject({ encoderParameters: 5_658_968, weightBytes: 4 * counted.parameters, latency: {} });
  expect(counted.paperMacs / 1e9).toBeCloseTo(20.925, 3);
  expect(counted.peakBytes).toBeGreaterThan(2 * counted.weightBytes);
  expect(counted.peakBytes).toBeLessThan(400e6);

  printed.out = '';
  const tiny = ['random:tiny', 'random:tiny@0.5'];
  expect(await costs(`${tiny.join(' ')} --rounds 2 --backend cpu`), printed.err).toBe(0);
  const { models, adapter } = JSON.parse(printed.out);
  expect(adapter).toMatch(/^tfjs-backend-cpu on /);
  for (const name of tiny) {
    const { latency, peakBytes } = models[name];
    expect(Object.keys(latency)).toEqual(['decode', 'preprocess', 'encoder', 'prompt and decoder', 'masks']);
    for (const { median, p95, samples } of Object.values<{ median: number; p95: number; samples: number[] }>(latency)) {
      expect(samples).toHaveLength(2);
      expect(p95).toBeGreaterThanOrEqual(median);
    }
    expect(peakBytes).toBeUndefined(); // this backend does not tell
  }
  expect(models[tiny[1]!].encoderParameters).toBeLessThan(models[tiny[0]!].encoderParameters);
  expect(await costs('random:sam-vit-giant')).toBe(1);
  expect(printed.err).toMatch(
    /expected random:NAME or random:NAME@RATIO of sam-vit-base, .*, got 'random:sam-vit-giant'/,
  );
});
