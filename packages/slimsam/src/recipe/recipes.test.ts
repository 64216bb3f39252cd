import { countParameters, prunedShapes, select } from '@slimsam/prune';
import { encoderAxes, samPresets } from '@slimsam/vit';
import { dims } from '@slimsam/weights';
import { describe, expect, test } from 'vitest';
import { alphaAt } from './alpha.ts';
import { iterative, oneShot, paperRounding, scratch, slimSam } from './makers.ts';
import { type AlignStep, checkRecipe, type PruneStep, type RecipeStep } from './recipe.ts';

const aligns = (steps: readonly RecipeStep[]): AlignStep[] => steps.filter((step) => step.kind === 'align');
const prunes = (steps: readonly RecipeStep[]): PruneStep[] => steps.filter((step) => step.kind === 'prune');

test("slimSam has the paper's order and numbers", () => {
  const { steps } = slimSam({ ratio: 0.77 });
  expect(prunes(steps)).toMatchObject([
    { structure: 'embedding', ratio: 0.77 },
    { structure: 'bottleneck', ratio: 0.77 },
  ]);
  expect(aligns(steps)).toMatchObject([
    { loss: 'bottleneck', epochs: 20, learningRate: 1e-4, patience: 3 },
    { loss: 'embedding', epochs: 20, learningRate: 1e-4, patience: 4 },
  ]);
  const [bottleneck, embedding] = aligns(steps).map(({ alpha, epochs }) =>
    Array.from({ length: epochs }, (_, epoch) => alphaAt(alpha, epoch, epochs)),
  );
  expect(bottleneck).toEqual([...Array(10).fill(0.5), ...Array(10).fill(0)]);
  expect(embedding!.slice(0, 11)).toEqual([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0, 0]);
  const code = slimSam({ ratio: 0.5, intermediateEpochs: { embedding: 11 } });
  expect(alphaAt(aligns(code.steps)[1]!.alpha, 0, 20)).toBeCloseTo(10 / 11, 12);
  expect(slimSam({ ratio: 0.5, ...paperRounding }).steps[0]).toMatchObject({
    ranking: 'local',
    multiples: { mlp: 12 },
  });
});

test.each([1, 2, 3, 4])('intermediates are aligned in both stages of %d epochs', (epochs) => {
  for (const { alpha } of aligns(slimSam({ ratio: 0.5, epochs }).steps))
    expect(alphaAt(alpha, 0, epochs)).toBeGreaterThan(0);
});

test('other schedules cost as much as slimSam', () => {
  const epochs = (steps: readonly RecipeStep[]) => aligns(steps).reduce((sum, step) => sum + step.epochs, 0);
  expect(epochs(oneShot({ ratio: 0.5 }).steps)).toBe(40);
  expect(epochs(scratch({ ratio: 0.5 }).steps)).toBe(40);
  const rounds = iterative([0.1, 0.2, 0.3, 0.4, 0.5], { epochs: 12 });
  expect(epochs(rounds.steps)).toBe(24);
  expect(prunes(rounds.steps).map(({ ratio }) => ratio)).toEqual([0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]);
  checkRecipe(rounds);
});

/** Shapes of SAM-B's image encoder. */
function samB(): Record<string, { shape: number[] }> {
  const shapes: Record<string, number[]> = {
    ...{ 'patch_embed.proj.weight': [768, 3, 16, 16], 'patch_embed.proj.bias': [768], pos_embed: [1, 64, 64, 768] },
    ...{ 'neck.0.weight': [256, 768, 1, 1], 'neck.1.weight': [256], 'neck.1.bias': [256] },
    ...{ 'neck.2.weight': [256, 256, 3, 3], 'neck.3.weight': [256], 'neck.3.bias': [256] },
  };
  for (let i = 0; i < 12; i++) {
    const positions = [[2, 5, 8, 11].includes(i) ? 127 : 27, 64];
    Object.assign(shapes, {
      ...{ [`blocks.${i}.attn.rel_pos_h`]: positions, [`blocks.${i}.attn.rel_pos_w`]: positions },
      ...{ [`blocks.${i}.attn.qkv.weight`]: [2304, 768], [`blocks.${i}.attn.qkv.bias`]: [2304] },
      ...{ [`blocks.${i}.attn.proj.weight`]: [768, 768], [`blocks.${i}.attn.proj.bias`]: [768] },
      ...{ [`blocks.${i}.mlp.lin1.weight`]: [3072, 768], [`blocks.${i}.mlp.lin1.bias`]: [3072] },
      ...{ [`blocks.${i}.mlp.lin2.weight`]: [768, 3072], [`blocks.${i}.mlp.lin2.bias`]: [768] },
      ...{ [`blocks.${i}.norm1.weight`]: [768], [`blocks.${i}.norm1.bias`]: [768] },
      ...{ [`blocks.${i}.norm2.weight`]: [768], [`blocks.${i}.norm2.bias`]: [768] },
    });
  }
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [`image_encoder.${name}`, { shape }]));
}

test.each([
  [0, 89_670_912],
  [0.5, 23_897_216],
  [0.77, 5_658_968],
])("SAM-B's encoder pruned by %d with the rounding of the paper has %d parameters", (ratio, parameters) => {
  const shapes = samB();
  const axes = encoderAxes(shapes, samPresets['sam-vit-base'].config);
  const pruned = [...dims(axes, shapes)].filter(([name]) => !name.endsWith('.heads')); // the paper keeps all heads
  const importance = pruned.map(
    ([name, { size }]) => [name, Float32Array.from({ length: size }, (_, i) => (i * 7919) % size)] as const,
  );
  const { ranking, multiples } = paperRounding;
  const roundTo = { embed: multiples!.embedding!, 'blocks.*.head': multiples!.head!, 'blocks.*.mlp': multiples!.mlp! };
  const scores = Object.fromEntries(importance);
  const { keep } = select({ importance: scores, ratio, ranking: ranking!, normalise: 'none', roundTo });
  expect(countParameters(prunedShapes(shapes, axes, keep))).toBe(parameters);
});

describe('a wrong recipe is one clear error', () => {
  test.each([
    ['a ratio of 1', () => slimSam({ ratio: 1 }), 'slimSam: expected a ratio in [0, 1), got 1'],
    ['a negative one', () => oneShot({ ratio: -0.1 }), 'oneShot: expected a ratio in [0, 1), got -0.1'],
    ['one that is no number', () => scratch({ ratio: Number.NaN }), 'got NaN'],
    ['falling ratios', () => iterative([0.2, 0.1]), 'expected rising ratios, got 0.2 before 0.1'],
    ['fewer epochs than rounds', () => iterative([0.1, 0.2], { epochs: 1 }), 'an epoch for each of 2 rounds, got 1'],
    ['no steps', () => checkRecipe({ name: 'x', steps: [] }), "recipe 'x': expected steps, got none"],
    [
      'a name twice',
      () => {
        const steps = [{ kind: 'initialise', name: 'a' } as const, { kind: 'initialise', name: 'a' } as const];
        checkRecipe({ name: 'x', steps });
      },
      "got 'a' twice",
    ],
    ['no epochs', () => checkRecipe(slimSam({ ratio: 0.5, epochs: 0 })), 'expected epochs to be 1, 2, …, got 0'],
    ['a rate of 0', () => checkRecipe(slimSam({ ratio: 0.5, learningRate: 0 })), 'a learning rate above 0, got 0'],
    ['alpha beyond 1', () => alphaAt(() => 2, 3, 4), 'alpha: expected a value in [0, 1] at epoch 3, got 2'],
  ])('%s', (_name, run, message) => {
    expect(run).toThrow(message);
  });
});
