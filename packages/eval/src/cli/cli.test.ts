import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { generateScenes } from '@slimsam/scenes';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { evaluateDiscs } from '../../test/evaluate-discs.ts';
import { mergeResults } from '../protocols/merge-results.ts';
import { runProgram } from './program.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const [truth, detections] = ['ground_truth', 'detections'].map((name) =>
  here(`../../test/fixtures/coco-small/${name}.json`),
);

let work = '';
const at = (...names: string[]) => path.join(work, ...names);
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-eval-cli-'));
  await generateScenes({ folder: at('scenes'), count: 8, seed: 1, size: 48 });
});
afterAll(() => rm(work, { recursive: true, force: true }));

/** Runs `slimsam-eval`; words that start with '@' are paths of the test's folder. */
async function run(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += text;
    return true;
  });
  try {
    const code = await runProgram(words.map((word) => (word.startsWith('@') ? at(word.slice(1)) : word)));
    return { code, out, err };
  } finally {
    vi.restoreAllMocks();
  }
}

const program = here('../../test/evaluate-discs.ts');

/** Starts the evaluation of the discs in a process of its own, and ends it by SIGKILL after `images` images. */
async function killedAfter(images: number, folder: string, shard = '1/1'): Promise<void> {
  const args = ['--conditions=@slimsam/source', '--import', 'tsx', program, at('scenes'), at(folder), shard, '60'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  const records = at(folder, 'images.jsonl');
  const lines = async () => (existsSync(records) ? (await readFile(records, 'utf8')).split('\n').length - 1 : 0);
  while ((await lines()) < images) await sleep(5);
  child.kill('SIGKILL');
  await ended;
  expect(child.signalCode).toBe('SIGKILL');
  expect(existsSync(at(folder, 'summary.json'))).toBe(false);
}

const evaluate = (folder: string, shard = '1/1') => evaluateDiscs(at('scenes'), { folder: at(folder), shard });

const contents = (folder: string) =>
  Promise.all(['summary.json', 'results.json', 'images.jsonl'].map((file) => readFile(at(folder, file), 'utf8')));

test('a run that SIGKILL ends twice, and one in shards that it ends: exactly the unbroken run’s files', async () => {
  await evaluate('whole');
  await killedAfter(2, 'killed');
  await killedAfter(5, 'killed');
  await evaluate('killed');
  expect(await contents('killed')).toEqual(await contents('whole'));
  await killedAfter(1, 'shard-1', '1/2');
  await evaluate('shard-1', '1/2');
  await evaluate('shard-2', '2/2');
  await mergeResults([at('shard-1'), at('shard-2')], { folder: at('merged') });
  expect(await contents('merged')).toEqual(await contents('whole'));
}, 60_000);

test('merge joins shards; miou reads a results folder’s masks; report writes a page', async () => {
  const merged = await run('merge', '@shard-2', '@shard-1', '--out', '@again');
  expect(merged.err).toBe('');
  const whole = JSON.parse(await readFile(at('whole', 'summary.json'), 'utf8'));
  expect(JSON.parse(merged.out)).toEqual(whole);
  const twice = await run('merge', '@shard-1', '@shard-1', '--out', '@x');
  expect([twice.code, twice.err]).toEqual([
    1,
    'slimsam-eval: mergeResults: expected shards 1 to 2, each once, got 1, 1\n',
  ]);

  const text = await run('miou', '@scenes', '@whole/results.json');
  expect(text.out).toContain(`mIoU ${whole.miou.toFixed(4)} (mean within each of 8 images, then over images)`);
  const json = JSON.parse((await run('miou', '@scenes', '@whole/results.json', '--json')).out);
  expect(json.miou).toBeCloseTo(whole.miou, 12);
  expect(json.skipped).toEqual([]);
  const results = JSON.parse(await readFile(at('whole', 'results.json'), 'utf8'));
  results[1].annotation_id = -4;
  await writeFile(at('bad.json'), JSON.stringify(results));
  const refused = await run('miou', '@scenes', '@bad.json');
  expect(refused.code).toBe(1);
  expect(refused.err).toMatch(/bad\.json': \[1\]: annotation_id: expected an annotation's id, got -4; --skip-bad/);
  const skipped = await run('miou', '@scenes', '@bad.json', '--skip-bad');
  expect(skipped.out).toMatch(
    /skipped 2 bad records:[\s\S]*annotation_id: expected an annotation's id, got -4[\s\S]*expected a mask, got none/,
  );

  const report = await run('report', '@whole', '--out', '@report', '--images', '@scenes', '--latency', 'discs=3.5');
  expect(report.err).toBe('');
  const names = await readdir(at('report'));
  expect(names).toEqual(expect.arrayContaining(['report.html', 'report.md', 'plot-2-histogram-of-iou.png']));
  expect(names.some((name) => /plot-\d-speed-against-quality[.]svg/.test(name))).toBe(true);
  expect((await run('report', '@whole', '--out', '@y', '--latency', 'sam=3')).err).toMatch(/one of discs, got 'sam'/);
  expect((await run('report', '@whole', '--out', '@y', '--latency', 'discs')).err).toMatch(
    /such as slim=24\.1, got 'discs'/,
  );
}, 60_000);

test('coco prints pycocotools’ table, or its 12 numbers as JSON', async () => {
  const expected = JSON.parse(await readFile(here('../../test/fixtures/coco-small/expected.json'), 'utf8'));
  const text = await run('coco', truth!, detections!);
  expect(text.out.split('\n')[0]).toBe(
    ` Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = ${expected.segm.stats[0].toFixed(3)}`,
  );
  expect(text.out.trim().split('\n')).toHaveLength(12);
  const variants = [
    ['segm', []],
    ['bbox', ['--type', 'bbox']],
    ['segm_class_agnostic', ['--class-agnostic']],
    ['bbox_class_agnostic', ['--type', 'bbox', '--class-agnostic']],
  ] as const;
  for (const [name, options] of variants) {
    const { stats } = JSON.parse((await run('coco', truth!, detections!, ...options, '--json')).out);
    stats.forEach((value: number, i: number) => {
      expect(Math.abs(value - expected[name].stats[i])).toBeLessThan(1e-12);
    });
  }
  const found = JSON.parse(await readFile(detections!, 'utf8'));
  found[3].image_id = 999_999;
  await writeFile(at('found.json'), JSON.stringify(found));
  const refused = await run('coco', truth!, '@found.json');
  expect([refused.code, refused.out]).toEqual([1, '']);
  expect(refused.err).toMatch(
    /^slimsam-eval: '.*found\.json': \[3\]: image_id: expected an id of images, got 999999; --skip-bad/,
  );
  const skipped = JSON.parse((await run('coco', truth!, '@found.json', '--skip-bad', '--json')).out);
  expect(skipped.skipped).toEqual([expect.objectContaining({ record: '[3]', field: 'image_id' })]);
  expect((await run('coco', truth!, detections!, '--lvis', '--class-agnostic')).err).toMatch(
    /--lvis has its own rules/,
  );
}, 60_000);

test('help, and a command that is none', async () => {
  expect((await run('--help')).out).toMatch(/coco[\s\S]*miou[\s\S]*merge[\s\S]*report/);
  const unknown = await run('coko');
  expect([unknown.code, unknown.err]).toEqual([1, expect.stringMatching(/unknown command 'coko'/)]);
});
