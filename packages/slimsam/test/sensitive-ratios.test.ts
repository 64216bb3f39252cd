import { disposeWeights } from '@slimsam/weights';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { compress, type PrunedEvent, type Recipe } from '../src/index.ts';
import { scenes, tinySam } from './tiny.ts';

test("widths by sensitivity: the ratio's channels in all, the most where no output depends on them", async () => {
  await tf.setBackend('cpu');
  const sam = tinySam();
  const idle = 'image_encoder.blocks.1.mlp.lin2.weight'; // nothing of this MLP's hidden layer is seen
  const weights = { ...sam.weights, [idle]: tf.zerosLike(sam.weights[idle]!) };
  const prune = { kind: 'prune', name: 'prune', structure: 'bottleneck', ratio: 0.5, sample: 2 } as const;
  const recipe: Recipe = { name: 'one', steps: [{ ...prune, ranking: 'sensitivity', multiples: { head: 1, mlp: 1 } }] };
  const before = tf.memory().numTensors;
  let pruned: PrunedEvent | undefined;
  for await (const event of compress({ ...sam, weights }, { photographs: scenes(4), recipe })) {
    if (event.type === 'pruned') pruned = event;
    if (event.type === 'done') disposeWeights(event.result.model.weights);
  }
  expect(tf.memory().numTensors).toBe(before);
  const widths = Object.entries(pruned!.widths).filter(([name]) => name.endsWith('.mlp'));
  const whole = widths.length * sam.weights['image_encoder.blocks.0.mlp.lin1.weight']!.shape[0]!;
  const kept = widths.reduce((sum, [, width]) => sum + width, 0);
  expect(Math.abs(kept / whole - 0.5)).toBeLessThan(0.08); // of 32 channels each, rounded down
  const least = Math.min(...widths.map(([, width]) => width));
  expect(pruned!.widths['blocks.1.mlp']).toBe(least);
  expect(least).toBeLessThan(kept / widths.length / 2);
});
