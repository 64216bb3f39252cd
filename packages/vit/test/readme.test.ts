import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('runs the snippets of the README, one after another', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const folder = await mkdtemp(join(import.meta.dirname, 'readme-'));
  const outputs: string[] = [];
  try {
    for (const [, snippet] of readme.matchAll(/```ts\n([\s\S]*?)```/g)) {
      await writeFile(join(folder, 'snippet.mts'), snippet!);
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ['--conditions=@slimsam/source', '--import', 'tsx', 'snippet.mts'],
        { cwd: folder },
      );
      outputs.push(stdout);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  const [predicted, everything, prompted, halved, exported, plain, onVit] = outputs.map((output) =>
    output.replaceAll(/\s+/g, ' '),
  );
  expect(outputs).toHaveLength(7);
  expect(predicted).toMatch(/^\[ -?[\d.]+ \] \d+ bytes of a PNG/);
  expect(everything).toMatch(/[1-9]\d* masks on [1-9]\d* pixels; [1-9]\d* runs/);
  expect(prompted).toContain('4800 logits; stable [');
  expect(prompted).toContain('2 masks refined');
  expect(halved).toContain('3 scores in half precision');
  expect(exported).toContain('vision_encoder_fp16.onnx');
  expect(plain).toContain('[ 1, 21, 16 ] [ 1, 16 ] [ 1, 16, 4, 4 ] [ 1, 21, 16 ] [ 1, 10 ]');
  expect(plain).toContain('2 attentions');
  expect(onVit).toContain('2 blocks, all global');
});
