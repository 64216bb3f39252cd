import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import { initSam, type Sam, samPresets } from '@slimsam/vit';
import { disposeWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type CompressOptions,
  compress,
  estimateMemory,
  openTeacherCache,
  photographsInMemory,
  planMemory,
  slimSam,
} from '../src/node.ts';

let backend: WebgpuBackend;
let sam: Sam;
beforeAll(async () => {
  backend = await useWebgpu();
  const { config, sizes } = samPresets.tiny;
  sam = { config, weights: initSam(config, sizes, { seed: 1 }) } as Sam;
});
afterAll(() => {
  disposeWeights(sam.weights);
  backend.dispose();
});

const photographs = photographsInMemory(
  Array.from({ length: 4 }, (_, k) => ({
    name: `photograph ${k}`,
    image: { width: 64, height: 64, data: Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * (k + 3)) % 251) },
  })),
);

/** Losses by step, and the most that the backend held in buffers. */
async function run(options: Partial<CompressOptions<Sam>> & Pick<CompressOptions<Sam>, 'recipe'>) {
  const losses: number[] = [];
  const parts: string[] = [];
  let most = 0;
  const own = backend.run.bind(backend);
  backend.run = (...args) => {
    const made = own(...args);
    const { numBytesInGPU, numBytesIdle } = backend.memory();
    most = Math.max(most, numBytesInGPU + numBytesIdle);
    return made;
  };
  try {
    for await (const event of compress(sam, { photographs, batch: 2, held: 0, ...options })) {
      if (event.type === 'step') {
        losses.push(event.loss);
        parts.push(Object.keys(event.parts).join(' '));
      }
      if (event.type === 'done') disposeWeights(event.result.model.weights);
    }
  } finally {
    backend.run = own;
  }
  return { losses, parts, most };
}

test('with recomputation, a teacher in half precision, or the cache of its embeddings, the losses are those without', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'full-size-'));
  try {
    const recipe = slimSam({ ratio: 0.5, epochs: 2, learningRate: 1e-3 });
    const plain = await run({ recipe });
    const teacherCache = await openTeacherCache(folder, {
      key: { weights: 'seed 1', photographs: photographs.identity },
    });
    const cached = await run({ recipe, teacherCache });
    const recomputed = await run({ recipe, recompute: true });
    const half = await run({ recipe, halfTeacher: backend.facts.features.includes('shader-f16') });
    expect(plain.losses).toHaveLength(8);
    expect(cached.parts).toEqual(plain.parts);
    for (const [i, loss] of plain.losses.entries()) {
      expect(Math.abs(cached.losses[i]! / loss - 1), `cached, step ${i}`).toBeLessThan(2e-3); // float16 has 11 bits
      expect(Math.abs(half.losses[i]! / loss - 1), `half, step ${i}`).toBeLessThan(1e-2);
      expect(Math.abs(recomputed.losses[i]! / loss - 1), `recomputed, step ${i}`).toBeLessThan(1e-4);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the estimate before the start is what the run then takes, and a plan keeps to a limit', async () => {
  const recipe = slimSam({ ratio: 0.5, epochs: 1 });
  const before = [tf.getBackend(), tf.memory().numTensors];
  const estimate = await estimateMemory(sam, { recipe, batch: 2 });
  expect(Object.keys(estimate.steps)).toEqual(recipe.steps.map(({ name }) => name));
  expect([tf.getBackend(), tf.memory().numTensors]).toEqual(before);
  const fresh = await useWebgpu({ name: 'fresh' }); // what earlier tests left in the other's pool is none of this run's
  [backend, sam] = [fresh, { ...sam, weights: initSam(sam.config, samPresets.tiny.sizes, { seed: 1 }) }];
  const { most } = await run({ recipe });
  expect(Math.abs(estimate.bytes / most - 1)).toBeLessThan(0.15);

  const plan = await planMemory(sam, { recipe, batch: 2, limit: estimate.bytes - 1 });
  expect(plan.estimate.bytes).toBeLessThan(estimate.bytes);
  expect(plan.batch * plan.accumulate).toBe(2);
  expect(plan.text).toMatch(
    /^memory: batches of 1, 2 a step, with(out)? recomputation: about \d\.\d MiB of \d\.\d MiB$/,
  );
  await expect(planMemory(sam, { recipe, batch: 1, limit: 1000 })).rejects.toThrow(
    /memory: expected \d\.\d MiB or more for a batch of 1 with recomputation, got 0\.0 MiB; allow more/,
  );
});
