import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { maskIou } from '@slimsam/eval';
import { generateScene } from '@slimsam/scenes';
import { createPredictor, parseSamConfig } from '@slimsam/vit';
import { loadWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { openBackend } from 'slimsam/node';
import { expect, test } from 'vitest';

const file = (name: string): string => fileURLToPath(new URL(`teacher/${name}`, import.meta.url));

/** The teacher's masks of every object of some scenes, one point each. */
async function masksOn(name: string, seeds: number[]): Promise<Uint8Array[]> {
  const { close } = await openBackend(name);
  const config = parseSamConfig(JSON.parse(await readFile(file('config.json'), 'utf8')));
  const { weights } = await loadWeights(file('teacher.safetensors'));
  const predictor = createPredictor(weights, config);
  const all: Uint8Array[] = [];
  for (const seed of seeds) {
    const { image, annotations } = generateScene(seed, { width: config.imageSize, height: config.imageSize });
    const points = annotations.map(({ point }) => [point]);
    const embedded = predictor.embed(image);
    const { masks, lowRes } = await predictor.predict(embedded, { points }, { multimask: false });
    all.push(...masks.map(([mask]) => mask!));
    tf.dispose([embedded.embedding, lowRes]);
  }
  tf.dispose(Object.values(weights));
  close();
  return all;
}

const seeds = [1, 2, 3, 4, 5, 6].map((i) => 910_000_000 + i);

test('the teacher gives the same masks on WebGPU and on tfjs-backend-cpu', async () => {
  const ours = await masksOn('webgpu', seeds);
  const theirs = await masksOn('cpu', seeds);
  const ious = ours.map((mask, i) => maskIou(mask, theirs[i]!));
  expect(ious.length).toBeGreaterThan(15);
  expect(ours.filter((mask) => mask.some((on) => on === 1)).length).toBeGreaterThan(ious.length / 2);
  // float32 sums in another order move logits by about 1e-5: only pixels that close to the edge may differ
  expect(ious.reduce((sum, iou) => sum + iou, 0) / ious.length).toBeGreaterThanOrEqual(0.999);
});

const nodeModules = fileURLToPath(new URL('../node_modules', import.meta.url));

test.each(['tfjs-node', 'tfjs-node-gpu'])(
  '%s opens with its real binding where it is installed, else says why not',
  async (name) => {
    const installed = existsSync(path.join(nodeModules, '@tensorflow', name, 'lib/napi-v8/tfjs_binding.node'));
    if (!installed) {
      await expect(openBackend(name)).rejects.toThrow(
        `--backend ${name}: expected '@tensorflow/${name}' to load, got: `,
      );
      return;
    }
    const backend = await openBackend(name);
    expect(backend.adapter).toMatch(new RegExp(`^${name} \\(TensorFlow [0-9.]+ on `));
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    expect(Array.from(await tf.matMul(x, x).data())).toEqual([7, 10, 15, 22]);
    backend.close();
    const theirs = await masksOn(name, seeds);
    const ours = await masksOn('webgpu', seeds); // after the import, which puts TensorFlow.js's own gradients in the place of ours
    expect(tf.getGradient(tf.Softmax).inputsToSave).toBeUndefined();
    const ious = ours.map((mask, i) => maskIou(mask, theirs[i]!));
    expect(ious.reduce((sum, iou) => sum + iou, 0) / ious.length).toBeGreaterThanOrEqual(0.999);
  },
);

test('auto explains its choice; an unknown name is an error', async () => {
  const { reason, close } = await openBackend('auto');
  expect(reason).toMatch(/WebGPU/);
  close();
  await expect(openBackend('cuda')).rejects.toThrow(
    "--backend: expected one of webgpu, cpu, wasm, tfjs-node, tfjs-node-gpu, auto, got 'cuda'",
  );
});
