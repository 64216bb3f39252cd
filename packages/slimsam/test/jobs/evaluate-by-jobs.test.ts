import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateScenes } from '@slimsam/scenes';
import { saveSam } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runProgram } from '../../src/cli/program.ts';
import { capturedOutput } from '../captured-output.ts';
import { tinySam } from '../tiny.ts';

let work = '';
const at = (...names: string[]) => path.join(work, ...names);
beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-by-jobs-'));
  await tf.setBackend('cpu');
  await saveSam(at('sam.safetensors'), tinySam(5));
  await generateScenes({ folder: at('data'), count: 5, seed: 2, size: 64 });
  const files = [1, 2, 3, 4, 5].map((i) => JSON.parse(readFileSync(at('data', `sa_${i}.json`), 'utf8')));
  const annotations = files.flatMap(({ image, annotations: own }) =>
    own.map((one: object) => ({ ...one, image_id: image.image_id, category_id: 1, iscrowd: 0 })),
  );
  const images = files.map(({ image }) => ({ ...image, id: image.image_id }));
  writeFileSync(at('coco.json'), JSON.stringify({ images, annotations, categories: [{ id: 1, name: 'shape' }] }));
  const boxes = annotations.map((one) => ({ image_id: one.image_id, category_id: 1, score: 0.5, bbox: one.bbox }));
  writeFileSync(at('boxes.json'), JSON.stringify(boxes));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));
const printed = capturedOutput();

/** Words that start with '@' are paths of the test's folder. */
const evaluate = (line: string) => {
  const words = line.split(' ').map((word) => (word.startsWith('@') ? at(word.slice(1)) : word));
  return runProgram(['evaluate', '--backend', 'cpu', ...words], new AbortController().signal);
};

const filesOf = (folder: string) =>
  Object.fromEntries(readdirSync(at(folder)).map((name) => [name, readFileSync(at(folder, name), 'utf8')]));

test.each([
  ['points', '@sam.safetensors --data @data --protocol points'],
  ['clicks', 'disc --radius-from @data --data @data --protocol clicks --clicks 3'],
  [
    'instances',
    'disc --radius-from @data --data @data --annotations @coco.json --protocol instances --boxes @boxes.json',
  ],
])(
  '%s by jobs: the files of one process, byte for byte',
  async (name, line) => {
    expect(await evaluate(`${line} --out @${name}-one --json`), printed.err).toBe(0);
    const one = JSON.parse(printed.out.trim().split('\n').at(-1)!);
    expect(await evaluate(`${line} --out @${name}-jobs --store @store --images-per-job 2 --json`), printed.err).toBe(0);
    expect(filesOf(`${name}-jobs`)).toEqual(filesOf(`${name}-one`));
    expect(Object.keys(filesOf(`${name}-jobs`)).sort()).toEqual([
      ...['config.json', 'images.jsonl', 'results.json', 'summary.json'],
    ]);
    expect(JSON.parse(printed.out.trim().split('\n').at(-1)!).summary).toEqual(one.summary);
  },
  60_000,
);

test('what is in the store is not computed again; another run in its folder, or a second coordinator, is refused', async () => {
  const line = '@sam.safetensors --data @data --protocol points --store @store --images-per-job 2';
  expect(await evaluate(`${line} --out @again --backend tfjs-node`), printed.err).toBe(0); // not installed: a job would fail
  expect(filesOf('again')).toEqual(filesOf('points-one'));
  expect(await evaluate('disc --radius-from @data --data @data --protocol points --store @store --out @again')).toBe(1);
  expect(printed.err).toMatch(/expected the run that is there, got another: model/);
  writeFileSync(at('again', 'run.lock'), JSON.stringify({ host: 'another', pid: 1, began: '', since: 'today' }));
  expect(await evaluate(`${line} --out @again`)).toBe(1);
  expect(printed.err).toMatch(/for this process alone, got the lock run\.lock of process 1 on another since today/);
});

test('a job that fails is told, the others go on, and the exit code says so', async () => {
  cpSync(at('data'), at('broken'), { recursive: true });
  const image = readdirSync(at('broken')).find((name) => /^sa_2[.](?!json)/.test(name))!;
  writeFileSync(at('broken', image), 'no image');
  const line = '@sam.safetensors --data @broken --protocol points --store @store --images-per-job 1 --out @failed';
  expect(await evaluate(line)).toBe(1);
  expect(printed.err).toMatch(/evaluate 2 of 5 failed: /);
  expect(printed.err).toMatch(/slimsam: 1 of 5 jobs failed; evaluate 2 of 5: .*the same command tries them again/);
  expect(readdirSync(at('failed'))).toEqual([]);
});

test.each([
  ['a queue without a store', '--queue redis://nowhere', /--queue: expected --store beside it/],
  ['a shard of its own', '--store @store --shard 1/2', /expected --store without --shard/],
])('%s', async (_, more, message) => {
  expect(await evaluate(`disc --radius-from @data --data @data --protocol points --out @no ${more}`)).toBe(1);
  expect(printed.err).toMatch(message);
});
