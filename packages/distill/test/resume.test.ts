import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { loadTraining } from '../src/index.ts';
import { withWebgpu } from './support.ts';
import { runWithFile } from './tiny-run.ts';

withWebgpu();

/** Trains in a process of its own, which is killed after a step where `killAt` says so. */
function runInChild(
  path: string,
  killAt = Number.POSITIVE_INFINITY,
): Promise<{ steps: number[]; signal: string | null }> {
  const script = fileURLToPath(new URL('tiny-run.ts', import.meta.url));
  const child = spawn(process.execPath, ['--conditions=@slimsam/source', '--import', 'tsx', script, path]);
  let [output, errors] = ['', ''];
  const steps = () => output.split('\n').filter(Boolean).map(Number);
  child.stdout.on('data', (text) => {
    output += text;
    if (steps().at(-1)! >= killAt) child.kill('SIGKILL');
  });
  child.stderr.on('data', (text) => {
    errors += text;
  });
  return new Promise((resolve, reject) =>
    child.once('close', (code, signal) =>
      code === 0 || signal ? resolve({ steps: steps(), signal }) : reject(new Error(errors)),
    ),
  );
}

test('killed in the middle of an epoch and resumed: weights, moments and the best are those of an unbroken run, bit for bit', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'distill-'));
  try {
    const [broken, whole] = [join(folder, 'broken.safetensors'), join(folder, 'whole.safetensors')];
    expect((await runInChild(broken, 7)).signal).toBe('SIGKILL');
    const { state } = await loadTraining(broken);
    expect(state.position).toEqual({ epoch: 1, batch: state.position.step - 5, step: expect.any(Number) });
    expect(state.position.batch).toBeGreaterThan(0);
    tf.dispose([state.weights, state.optimizer.m, state.optimizer.v]);

    const rest = await runInChild(broken);
    expect(rest.steps[0]).toBe(state.position.step + 1);
    expect(rest.steps.at(-1)).toBe(15);
    await runWithFile(whole);
    expect((await readFile(broken)).equals(await readFile(whole))).toBe(true);
    const { best, plateau, notes } = await loadTraining(whole);
    expect([best?.metric, plateau, notes]).toEqual([0.75, { learningRate: 0.005, best: 0.75, bad: 0 }, 'seed 3']);
    const leftovers = (await readdir(folder)).filter((name) => !name.endsWith('.tmp')); // a kill may leave one being written
    expect(leftovers.sort()).toEqual(['broken.safetensors', 'whole.safetensors']);
  } finally {
    await rm(folder, { recursive: true });
  }
});
