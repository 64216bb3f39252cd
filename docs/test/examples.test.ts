import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateScenes } from '@slimsam/scenes';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from './pages.ts';

let work = '';
const at = (...names: string[]): string => path.join(work, ...names);

beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-examples-'));
  await generateScenes({ folder: at('photos'), count: 3, seed: 1, size: 96 });
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Runs an example as a user would. */
function run(name: string, options: readonly string[]): Promise<{ code: number; output: string }> {
  const program = ['--conditions=@slimsam/source', '--import', 'tsx', `examples/${name}`, ...options];
  return new Promise((resolve) => {
    execFile(process.execPath, program, { cwd: root }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), output: stdout + stderr }),
    );
  });
}

const programs: readonly (readonly [name: string, options: () => string[], said: RegExp, files: readonly string[]])[] =
  [
    [
      'segment.ts',
      () => [at('photos/sa_1.jpg'), '--out', at('new/segment.png')],
      /pixels, expected IoU 0\.\d\d/,
      ['new/segment.png'],
    ],
    [
      'everything.ts',
      () => [at('photos/sa_1.jpg'), '--side', '4', '--iou', '0.2', '--out', at('newer/everything.png')],
      /\d+ masks: /,
      ['newer/everything.png'],
    ],
    [
      'compress-sam.ts',
      () => ['--images', at('photos'), '--epochs', '1', '--run', at('run')],
      /prune the bottleneck: [\d,]+ encoder parameters/,
      ['run/slim.safetensors'],
    ],
    [
      'evaluate.ts',
      () => ['--scenes', '1', '--out', at('evaluate')],
      /mIoU with one point: 0\.\d+ on 1 images\nAP with boxes/,
      [],
    ],
    ['compare.ts', () => ['--scenes', '1', '--out', at('compare')], /second - first: -?0\.\d+, 95 % within/, []],
    [
      'onnx.ts',
      () => [at('photos/sa_1.jpg'), '--out', at('onnx')],
      /\d+ of \d+ pixels are the same.*\nscores of transformers\.js are within \d+e-\d+/,
      ['onnx/encoder.onnx', 'onnx/decoder.onnx', 'onnx/transformers/onnx/vision_encoder.onnx'],
    ],
    ['latency.ts', () => ['--repeats', '1'], /teacher\.safetensors.*1,567,112/, []],
    ['ablation.ts', () => ['--scenes', '2', '--out', at('ablation')], /taylor +│ 0\.\d+/, []],
    ['convnet.ts', () => ['--epochs', '1', '--images', '64'], /loss \d\.\d+ -> \d/, []],
    ['tfjs-node.ts', () => ['--backend', 'cpu'], /masks of [\d, ]+ pixels/, []],
  ];

test.each(programs)('%s does what it says', async (name, options, said, files) => {
  const { code, output } = await run(name, options());
  expect(output).toMatch(said);
  expect(code).toBe(0);
  for (const file of files) expect(existsSync(at(file))).toBe(true);
});

test('every example with options has --help, each has fewer than 100 lines, and a row in the table', async () => {
  const table = readFileSync(path.join(root, 'examples/README.md'), 'utf8');
  for (const name of readdirSync(path.join(root, 'examples')).filter((file) => /(?<!\.test)\.ts$/.test(file))) {
    if (name.startsWith('teacher-')) continue; // modules of train-teacher.ts
    expect(table).toContain(`\`${name}\``);
    if (name !== 'train-teacher.ts' && name !== 'quickstart.ts')
      expect(readFileSync(path.join(root, 'examples', name), 'utf8').split('\n').length, name).toBeLessThan(101);
  }
  const others = ['prune-vit.ts', 'quickstart.ts', 'train-teacher.ts', 'model-card.ts'];
  for (const name of [...programs.map(([name]) => name), ...others]) {
    const { code, output } = await run(name, ['--help']);
    expect(output).toContain(`Usage: ${name.replace('.ts', '')} `);
    expect(code).toBe(0);
  }
});

test('a photograph or a model that is none is one clear error', async () => {
  const missing = await run('segment.ts', [at('none.jpg')]);
  expect(missing.output).toMatch(/none\.jpg/);
  expect(missing.output).not.toMatch(/^\s+at /m);
  expect(missing.code).toBe(1);
  const wrong = await run('everything.ts', [at('photos/sa_1.jpg'), '--model', at('photos/sa_1.json')]);
  expect(wrong.output).toMatch(/expected/);
  expect(wrong.code).toBe(1);
});
