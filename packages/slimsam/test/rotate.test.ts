import { encodeImage, type Sam } from '@slimsam/vit';
import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { type Compressed, compress, type Recipe, rotated } from '../src/index.ts';
import { scenes, tinySam, tinyVit, withWebgpu } from './tiny.ts';

withWebgpu();
const photographs = scenes(6);

/** As `samFromVit` makes them: all blocks global, without relative positions; layer norms with scales and offsets of their own. */
function samOnVit(): Sam {
  const { config, weights } = tinySam();
  const own = Object.entries(weights).filter(([name]) => !name.includes('.rel_pos_'));
  const made = own.map(([name, weight], i): [string, tf.Tensor] => {
    if (!/\.norm[12]\.|\.bias$/.test(name)) return [name, weight];
    weight.dispose();
    return [name, tf.randomUniform(weight.shape, 0.5, 1.5, 'float32', i)];
  });
  for (const [name, weight] of Object.entries(weights)) if (name.includes('.rel_pos_')) weight.dispose();
  return { config: { ...config, globalBlocks: [0, 1] }, weights: Object.fromEntries(made) };
}

async function run(sam: Sam, recipe: Recipe): Promise<Compressed<Sam>> {
  const stages = compress(sam, { photographs, recipe, batch: 2, held: 2 });
  for (;;) {
    const next = await stages.next();
    if (next.done) return next.value;
  }
}

const embeddingOf = async (weights: Weights, config: Sam['config']) => {
  const image = tf.randomNormal([1, 3, 64, 64], 0, 1, 'float32', 3) as tf.Tensor4D;
  const { embedding } = encodeImage(weights, config, image);
  const values = await embedding.data<'float32'>();
  tf.dispose([image, embedding]);
  return values;
};

test.each([0.25, 0.5, 0.9])(
  'rotated for a ratio of %d, an encoder computes the same; its strongest channels come first',
  async (ratio) => {
    const sam = samOnVit();
    const before = tf.memory().numTensors;
    const { model } = await run(sam, {
      name: 'rotated',
      steps: [{ kind: 'rotate', name: 'rotate', ratio, sample: 3 }],
    });
    const [found, wanted] = [await embeddingOf(model.weights, sam.config), await embeddingOf(sam.weights, sam.config)];
    const range = Math.max(...wanted.map(Math.abs));
    for (const [i, value] of found.entries()) expect(Math.abs(value - wanted[i]!)).toBeLessThan(1e-4 * range);
    const moved = (weights: Weights) => weights['image_encoder.blocks.1.mlp.lin2.weight']!.data<'float32'>();
    expect(await moved(model.weights)).not.toEqual(await moved(sam.weights));
    disposeWeights(model.weights);
    expect(tf.memory().numTensors).toBe(before);
    disposeWeights(sam.weights);
  },
);

test('pruned to its principal directions an encoder is nearer to the original when its layers are fitted anew', async () => {
  const sam = samOnVit();
  const errorOf = async (reconstruct?: number) => {
    const untrained = { ratio: 0.5, epochs: 1, stepsPerEpoch: 1, learningRate: 1e-9, sample: 4 };
    const { model, validation } = await run(sam, rotated({ ...untrained, ...(reconstruct && { reconstruct }) }));
    for (const [name, weight] of Object.entries(model.weights))
      if (!name.startsWith('image_encoder.'))
        expect(await weight.data(), name).toEqual(await sam.weights[name]!.data());
    disposeWeights(model.weights);
    return validation!.error;
  };
  expect(await errorOf(4)).toBeLessThan(0.9 * (await errorOf()));
  disposeWeights(sam.weights);
});

test('other encoders are one clear error', async () => {
  const recipe = rotated({ ratio: 0.5, epochs: 1 });
  const sam = tinySam();
  await expect(run(sam, recipe)).rejects.toThrow(
    /expected a SAM on a plain ViT for 'rotate'.*take the recipe 'slimsam'/,
  );
  disposeWeights(sam.weights);
  const stages = compress(tinyVit(), { photographs, recipe });
  await expect(stages.next()).rejects.toThrow(/expected a SAM for 'rotate', got a plain ViT/);
  const unturned = { kind: 'prune', name: 'prune', structure: 'both', ratio: 0.5, criterion: 'leading' } as const;
  await expect(run(samOnVit(), { name: 'mine', steps: [unturned] })).rejects.toThrow(
    "recipe 'mine', 'prune': expected a step 'rotate' before the criterion 'leading', got none",
  );
  expect(() => rotated({ ratio: 1 })).toThrow(/rotated: expected a ratio in \[0, 1\), got 1/);
});
