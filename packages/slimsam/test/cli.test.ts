import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateScenes } from '@slimsam/scenes';
import { loadSam, saveSam, saveVit } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { runProgram } from '../src/cli/program.ts';
import { capturedOutput } from './captured-output.ts';
import { tinySam, tinyVit } from './tiny.ts';

// The hardest case for output without colour codes: libraries see a CI machine, which they colour although it is no terminal.
vi.hoisted(() => {
  process.env.CI = 'true';
});

let work = '';
const at = (...names: string[]) => path.join(work, ...names);
beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-cli-'));
  await tf.setBackend('cpu');
  await saveSam(at('sam.safetensors'), tinySam());
  await saveVit(at('vit.safetensors'), tinyVit());
  writeFileSync(at('not-a-model.safetensors'), 'nothing');
  mkdirSync(at('empty'));
  await generateScenes({ folder: at('photos'), count: 9, seed: 1, size: 64 });
  await generateScenes({ folder: at('labelled'), count: 2, seed: 2, size: 64 });
  writeFileSync(at('photos', 'torn.jpg'), readFileSync(at('photos', 'sa_2.jpg')).subarray(0, 700));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

const printed = capturedOutput();

/** Runs the program on tfjs-backend-cpu; words that start with '@' are paths of the test's folder. */
const run = (line: string, backend = true) =>
  runProgram(
    [
      ...line.split(' ').map((word) => (word.startsWith('@') ? at(word.slice(1)) : word)),
      ...(backend ? ['--backend', 'cpu'] : []),
    ],
    new AbortController().signal,
  );
const small = '--epochs 1 --steps 2 --batch 2 --sample 2 --held 2 --rate 1e-3';

test('compress, again, evaluate, segment and export: from files to files', async () => {
  expect(await run(`compress @sam.safetensors --images @photos --run @run --validate @labelled ${small}`)).toBe(0);
  expect(printed.out).toMatch(/original[^\n]*24,680[\s\S]*slim[\s\S]*report: .*report\.html/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a redirected table must not have
  expect(printed.out + printed.err).not.toMatch(/\u001b\[/);
  expect(printed.err).toMatch(/align the embedding: epoch 1, error .* measured 0\.\d+/);
  const files = readdirSync(at('run'));
  expect(files).toEqual(
    expect.arrayContaining(['slim.safetensors', 'slim.plan.json', 'results.json', 'report.html', 'metrics.jsonl']),
  );
  expect(files.filter((name) => /lock|tmp|training/.test(name))).toEqual([]);
  const { config, weights } = await loadSam(at('run', 'slim.safetensors'));
  expect(config).toEqual(tinySam().config);
  expect(weights['image_encoder.pos_embed']!.shape).toEqual([1, 8, 8, 8]);

  printed.out = '';
  expect(await run(`compress @sam.safetensors --images @photos --run @run --validate @labelled --json ${small}`)).toBe(
    0,
  );
  expect(JSON.parse(printed.out).evaluations.slim.miou).toBeGreaterThanOrEqual(0);
  expect(
    await run(`compress @sam.safetensors --images @photos --run @run --ratio 0.25 --validate @labelled ${small}`),
  ).toBe(1);
  expect(printed.err).toMatch(
    /slimsam: run folder: expected the run of .*recipe\.steps\.0\.ratio: 0\.5 there, 0\.25 now/,
  );

  printed.out = '';
  expect(await run('evaluate @run/slim.safetensors --data @labelled --against @sam.safetensors --json')).toBe(0);
  const { models } = JSON.parse(printed.out);
  expect(Object.keys(models)).toEqual([at('sam.safetensors'), at('run/slim.safetensors')]);
  expect(models[at('run/slim.safetensors')].params).toBeLessThan(models[at('sam.safetensors')].params);

  expect(
    await run('segment @photos/sa_1.jpg --model @run/slim.safetensors --point 20,30 --box 5,5,50,50 --out @mask.png'),
  ).toBe(0);
  expect(await sharp(at('mask.png')).metadata()).toMatchObject({ width: 64, height: 64, channels: 1 });
  printed.out = '';
  expect(await run('export @run/slim.safetensors --onnx @onnx --json')).toBe(0);
  expect(JSON.parse(printed.out).files.length).toBe(2);
}, 300_000);

test('compress --pause stops with its state written, and the same command goes on to its end', async () => {
  const line = `compress @sam.safetensors --images @photos --run @paused --any-adapter --pause 0.000001 ${small}`;
  const pauses = [];
  for (printed.out = ''; !printed.out.includes('report:'); ) {
    printed.out = '';
    expect(await run(line)).toBe(0);
    pauses.push(...(/paused after step (\d) of '.*?'/.exec(printed.out)?.slice(1) ?? []));
    expect(pauses.length).toBeLessThan(6);
  }
  expect(pauses).toEqual(['1', '2', '1', '2']); // of both stages
  const { facts } = JSON.parse(readFileSync(at('paused', 'run.json'), 'utf8'));
  expect(facts.adapter).toBeUndefined();
});

test('info tells what a model is, and what compressing it takes', async () => {
  expect(await run('info @vit.safetensors --json')).toBe(0);
  const facts = JSON.parse(printed.out);
  expect(facts).toMatchObject({ kind: 'plain ViT', imageSize: 32, blocks: 2, width: 16, heads: 2 });
  expect(facts.compressing.memory).toBeGreaterThan(facts.compressing.leastMemory);
});

test('a plain ViT by the same command, and a torn photograph that is named, or fatal', async () => {
  expect(
    await run(
      `compress @vit.safetensors --images @photos --run @vit-run --recipe one-shot ${small.replace('--steps 2 ', '')}`,
    ),
  ).toBe(0);
  expect(printed.err).toMatch(/skipped 1: .*torn\.jpg/);
  expect(printed.out).toMatch(/1 photographs skipped/);
  expect(printed.out).toMatch(/features of held-back photographs: relative error/);
  expect(
    await run(`compress @vit.safetensors --images @photos --run @strict --strict ${small.replace('--steps 2 ', '')}`),
  ).toBe(1);
  expect(printed.err).toMatch(/expected every file to be a photograph \(strict\), got .*torn\.jpg/);
});

describe('what is wrong is one line, and nothing is written', () => {
  test.each<[string, number, string, RegExp]>([
    [
      'a model that is none',
      1,
      'compress @not-a-model.safetensors --images @photos',
      /parseSafetensors: expected|header/,
    ],
    ['a missing model', 1, 'compress @nowhere --images @photos', /nowhere/],
    [
      'a folder without photographs',
      1,
      'compress @sam.safetensors --images @empty',
      /expected JPEG.* in '.*empty', got 0/,
    ],
    ['a missing folder', 1, 'compress @sam.safetensors --images @nowhere', /nowhere/],
    [
      'a ratio of 1',
      2,
      'compress @sam.safetensors --images @photos --ratio 1',
      /'1' is invalid. expected a number in \[0, 1\)/,
    ],
    [
      'a target that no ratio reaches',
      1,
      'compress @sam.safetensors --images @photos --params 9k',
      /got 9000 parameters; the least is \d+/,
    ],
    [
      'small photographs in another recipe',
      1,
      'compress @sam.safetensors --images @photos --small 32 --recipe one-shot',
      /--small: expected the recipe 'slimsam' or 'rotated', got 'one-shot'/,
    ],
    [
      'a last stage of nothing',
      1,
      'compress @sam.safetensors --images @photos --own-size-epochs 2',
      /--own-size-epochs, --own-size-rate: expected --small beside them/,
    ],
    [
      'views of photographs that do not vary',
      1,
      'compress @sam.safetensors --images @photos --views 4',
      /--views: expected --flip or --jitter beside it, got neither/,
    ],
    [
      'layers fitted anew in another recipe',
      1,
      'compress @sam.safetensors --images @photos --reconstruct 8 --recipe scratch',
      /--reconstruct: expected the recipe 'slimsam' or 'rotated', got 'scratch'/,
    ],
    [
      'prompts in another recipe',
      1,
      'compress @sam.safetensors --images @photos --prompt-epochs 2 --recipe iterative',
      /--prompt-epochs: expected the recipe 'slimsam' or 'rotated', got 'iterative'/,
    ],
    [
      'a ratio and a target',
      2,
      'compress @sam.safetensors --images @photos --params 9M --ratio 0.5',
      /cannot be used with/,
    ],
    [
      'no rounding',
      1,
      'compress @sam.safetensors --images @photos --rounding x',
      /--rounding: expected 1, 2, … or 'paper', got 'x'/,
    ],
    [
      'masks of a plain ViT',
      1,
      'compress @vit.safetensors --images @photos --validate @photos',
      /--validate: expected a SAM/,
    ],
    ['a SAM that is a ViT', 1, 'evaluate @vit.safetensors --data @photos', /expected a SAM in '.*', got a plain ViT/],
    ['labelled data that is not there', 1, 'evaluate @sam.safetensors --data @empty', /empty/],
    [
      'a prompt that is none',
      1,
      'segment @photos/sa_1.jpg --model @sam.safetensors --out @m.png',
      /expected --point.* or else --everything/,
    ],
    [
      'a point that is none',
      2,
      'segment @photos/sa_1.jpg --model @sam.safetensors --out @m.png --point 1',
      /expected 2 numbers/,
    ],
    ['a point outside', 1, 'segment @photos/sa_1.jpg --model @sam.safetensors --out @m.png --point 99,1', /99/],
    [
      'a file where the PNG’s folder should be',
      1,
      'segment @photos/sa_1.jpg --model @sam.safetensors --out @sam.safetensors/m.png --point 9,9',
      /writeFileAtomic: expected to write \d+ bytes to '.*m\.png', got a file where a folder should be \(ENOTDIR\)/,
    ],
    [
      'an export into a file',
      1,
      'export @sam.safetensors --onnx @vit.safetensors',
      /expected '.*vit\.safetensors' to be a folder or to become one, got a file there/,
    ],
    ['an unknown option', 2, 'info @sam.safetensors --x', /unknown option '--x'/],
    ['an unknown command', 2, 'squeeze @sam.safetensors', /unknown command 'squeeze'/],
  ])('%s', async (_name, code, line, message) => {
    const words = line.startsWith('compress') ? `${line} --run @failed` : line;
    expect(await run(words, !/--x|squeeze/.test(line))).toBe(code);
    expect(printed.err).toMatch(message);
    expect(printed.err).not.toMatch(/^\s+at /m);
    expect(readdirSync(work)).not.toEqual(expect.arrayContaining(['failed']));
    expect(readdirSync(work)).not.toContain('m.png');
  });
});

test.runIf(process.platform === 'linux')('a place where nothing can be written is one line, at once', async () => {
  const cannot = /expected .* got (no such file or folder|no permission|a read-only disk)/;
  for (const line of [
    'compress @sam.safetensors --images @photos --run /proc/slimsam/run', // where Node's recursive mkdir never ends
    'segment @photos/sa_1.jpg --model @sam.safetensors --point 9,9 --out /proc/slimsam.png',
    'export @sam.safetensors --onnx /proc/slimsam',
  ]) {
    expect(await run(line), line).toBe(1);
    expect(printed.err).toMatch(cannot);
    expect(printed.err).not.toMatch(/^\s+at /m);
  }
});

test.each(['compress', 'evaluate', 'costs', 'segment', 'export', 'info'])(
  '%s --help has an example',
  async (command) => {
    expect(await run(`${command} --help`, false)).toBe(0);
    expect(printed.out).toMatch(new RegExp(`Example:\n {2}slimsam ${command} `));
  },
);

test('--version is that of the package', async () => {
  expect(await run('--version', false)).toBe(0);
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  expect(printed.out).toBe(`${version}\n`);
});
