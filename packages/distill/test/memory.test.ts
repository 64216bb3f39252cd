import { findLeaks } from '@slimsam/tensor-webgpu';
import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { withWebgpu } from './support.ts';
import { tinyRun } from './tiny-run.ts';

const backend = withWebgpu();

test('over 100 steps tensors and live buffers stay flat; nothing is left after them', async () => {
  const { steps, models } = tinyRun({ epochs: 20, learningRate: 0.01 });
  const before = tf.memory().numTensors;
  const seen: { tensors: number; bytes: number; loss: number }[] = [];
  let slim: Weights = {};
  for await (const { loss, weights } of steps) {
    slim = weights;
    seen.push({ tensors: tf.memory().numTensors, bytes: backend().memory().numBytesInGPU, loss });
  }
  disposeWeights(slim); // the last weights are ours
  expect(seen).toHaveLength(100);
  const inEpoch = seen.filter((_, i) => i % 5 !== 4); // a next batch waits at all but the last step of an epoch
  expect(new Set(inEpoch.map(({ tensors }) => tensors)).size).toBe(1);
  const grown = inEpoch.at(-1)!.bytes - inEpoch[0]!.bytes;
  expect(grown).toBe(0);
  expect(seen.at(-1)!.loss).toBeLessThan(0.5 * seen[0]!.loss);
  expect(tf.memory().numTensors).toBe(before);
  tf.dispose([...models]);
});

test('no step leaks; a tensor that the loop forgets is found by its kernel and line', async () => {
  const leaks = await findLeaks(backend(), async () => {
    const { steps, models } = tinyRun({ epochs: 1, learningRate: 0.01 });
    let slim: Weights = {};
    for await (const { loss, weights } of steps) {
      slim = weights;
      tf.scalar(loss);
    }
    disposeWeights(slim);
    tf.exp(Object.values(models[0]!)[0]!);
    tf.dispose([...models]);
    return [];
  });
  expect(leaks).toHaveLength(1 + 5); // and the scalar of each step
  expect(leaks.filter(({ label }) => label === 'Exp')).toMatchObject([
    { stack: expect.stringContaining('memory.test') },
  ]);
});
