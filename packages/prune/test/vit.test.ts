import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import { encodeImage, encoderAxes } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prune, zeroChannels } from '../src/index.ts';
import { config, gradientsOf, image, modelOf, relativeError, tensors, values } from './fixture.ts';

let backend: WebgpuBackend;

beforeAll(async () => {
  backend = await useWebgpu();
});
afterAll(() => backend.dispose());

// the fixture holds every 5th element of the reference's gradients
test.each(['stage1', 'stage2'] as const)('%s: gradients of the disturbed loss are the reference’s', async (stage) => {
  const { sums: gradients, loss } = await gradientsOf(stage);
  expect(relativeError([loss], values(`${stage}.loss_sum`))).toBeLessThan(1e-4);
  const wanted = tensors(`${stage}.grad.`);
  expect(Object.keys(gradients).sort()).toEqual(Object.keys(wanted).sort());
  for (const [name, gradient] of Object.entries(wanted)) {
    const got = (await gradients[name]!.data<'float32'>()).filter((_, i) => i % 5 === 0);
    if (name.endsWith('.k.bias')) {
      // it shifts all scores of a query, so its gradient is rounding errors
      const largest = (values: Float32Array) => Math.max(...values.map(Math.abs));
      const scale = largest(values(`${stage}.grad.${name.replace('.k.', '.v.')}`));
      expect(largest(got) / scale, name).toBeLessThan(1e-3);
    } else expect(relativeError(got, await gradient.data()), name).toBeLessThan(1e-3);
  }
  tf.dispose([gradients, wanted]);
});

const every = (size: number, step: number): number[] =>
  Array.from({ length: size }, (_, i) => i).filter((i) => i % step);

test.each([
  ['blocks.1.head', 12],
  ['blocks.2.mlp', 192],
])('zeroing channels of %s equals removing them', async (dimension, size) => {
  const kept = every(size, 3);
  const [zero, removed] = tf.tidy(() => {
    const weights = modelOf('stage1');
    const run = (table: Weights) => encodeImage(table, config, image(0)).embedding;
    return [
      run(zeroChannels(weights, encoderAxes(weights, config), { [dimension]: kept })),
      run(prune(weights, encoderAxes(weights, config), { [dimension]: kept })),
    ];
  });
  expect(relativeError(await removed.data(), await zero.data())).toBeLessThan(1e-5);
  tf.dispose([zero, removed]);
});

// A layer norm takes mean and variance over all C channels, zeros included. With K channels kept and their mean m and variance v it
// sees mean (K/C) m and variance (K/C) v + (K/C) (1 - K/C) m², so zeroing embedding channels is not removing them.
test('zeroing embedding channels equals removing them up to the first layer norm only', async () => {
  const kept = every(48, 4);
  const outputs = tf.tidy(() => {
    const weights = modelOf('stage1');
    const run = (table: Weights) => encodeImage(table, config, image(0), { taps: ['patch_embed'] });
    const zero = run(zeroChannels(weights, encoderAxes(weights, config), { embed: kept }));
    const removed = run(prune(weights, encoderAxes(weights, config), { embed: kept }));
    return {
      zeroPatches: tf.gather(zero.taps.patch_embed!, tf.tensor1d(kept, 'int32'), 3),
      removedPatches: removed.taps.patch_embed!,
      zero: zero.embedding,
      removed: removed.embedding,
    };
  });
  expect(await outputs.removedPatches.data()).toEqual(await outputs.zeroPatches.data());
  expect(relativeError(await outputs.removed.data(), await outputs.zero.data())).toBeGreaterThan(1e-3);
  tf.dispose(outputs);
});
