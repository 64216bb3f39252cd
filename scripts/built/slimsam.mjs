import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { initSam, samPresets, saveSam } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import sharp from 'sharp';
import { slimSam } from 'slimsam';
import { openPhotographs } from 'slimsam/node';

test('slimsam: a recipe is data', () => {
  const { steps } = slimSam({ ratio: 0.5 });
  assert.deepEqual(
    steps.map(({ kind }) => kind),
    ['prune', 'align', 'prune', 'align'],
  );
  assert.throws(() => slimSam({ ratio: 1 }), /expected a ratio in \[0, 1\), got 1/);
});

test('slimsam: photographs are decoded by the package’s own worker threads', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'slimsam-built-'));
  try {
    const grey = sharp({ create: { width: 40, height: 30, channels: 3, background: { r: 9, g: 8, b: 7 } } });
    for (const name of ['a.png', 'b.jpg']) await grey.toFile(path.join(folder, name));
    await writeFile(path.join(folder, 'c.jpg'), '<svg/>');
    const photographs = await openPhotographs(folder, { workers: 2 });
    const found = [];
    for await (const { name, image } of photographs.read([1, 2, 0], { size: 20 })) found.push([name, image.height]);
    assert.deepEqual(found, [
      ['b.jpg', 15],
      ['a.png', 15],
    ]);
    assert.deepEqual(
      photographs.skipped.map(({ name }) => name),
      ['c.jpg'],
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}); // nothing is closed: the process ends all the same

test('slimsam: the command line tells what a model is', async () => {
  const { config, sizes } = samPresets.tiny;
  await saveSam('sam.safetensors', { config, weights: initSam(config, sizes, { seed: 1 }) });
  const program = ['node_modules/slimsam/dist/cli/main.js', 'info', 'sam.safetensors', '--json', '--backend', 'cpu'];
  const facts = JSON.parse(
    execFileSync(process.execPath, program, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
  );
  assert.equal(facts.parameters, 24_680);
  assert.equal(facts.kind, 'SAM');
});
