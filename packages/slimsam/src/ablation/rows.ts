import { bottleneckAligning } from '@slimsam/distill';
import { criteria, type ElementCriterion } from '@slimsam/prune';
import type { Sam } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Alpha } from '../recipe/alpha.ts';
import { iterative, oneShot, type RecipeOptions, scratch, slimSam } from '../recipe/makers.ts';
import type { AligningLoss, AlignStep, CustomStep, Recipe, RecipeStep } from '../recipe/recipe.ts';
import type { ScoringLoss } from '../recipe/scoring.ts';

/** What a row's recipe is made of. */
interface RowInputs {
  /** Equal for all rows: ratio, epochs, steps, learning rate. */
  readonly common: RecipeOptions & { readonly ratio: number; readonly epochs: number };
  readonly teacher: Sam;
  /** A loss of people's masks, for the row that scores by labels. */
  readonly labels?: ScoringLoss | undefined;
}

/** One way to compress, of those that are compared. */
export interface Row {
  readonly group: 'main' | 'wide';
  readonly says: string;
  /** Photographs to train on; all unless given. */
  readonly photographs?: number;
  readonly recipe: (inputs: RowInputs) => Recipe;
}

const main = (says: string, recipe: Row['recipe']): Row => ({ group: 'main', says, recipe });
const wide = (says: string, recipe: Row['recipe'], photographs?: number): Row => ({
  ...{ group: 'wide', says, recipe },
  ...(photographs !== undefined && { photographs }),
});

/** The row that the others are compared with: the default. */
export const defaultRow = 'disturbed-squared';

/** The row that scores by people's masks. */
export const labelledRow = 'taylor-labels';

/** All rows by name. Those of `main` are the paper's table 2; each of `wide` changes one thing of the default. */
export const ablationRows: ReadonlyMap<string, Row> = new Map([
  ['scratch', main('random weights in the slim shapes', ({ common }) => scratch(common))],
  ['random', main('channels by chance', ({ common }) => slimSam({ ...common, criterion: 'random' }))],
  ['magnitude', main('channels by w²', ({ common }) => slimSam({ ...common, criterion: 'magnitude' }))],
  ['hessian', main('optimal brain damage', ({ common }) => slimSam({ ...common, criterion: 'hessian' }))],
  [labelledRow, main("Taylor of a loss of people's masks, (w g)²", (inputs) => byLabels(inputs))],
  [
    'disturbed-signed',
    main("the paper's code: |w sum g|", ({ common }) => slimSam({ ...common, accumulate: 'signed' })),
  ],
  ['disturbed-absolute', main('sum |w g|', ({ common }) => slimSam({ ...common, accumulate: 'absolute' }))],
  [defaultRow, main('sum (w g)²: the default', ({ common }) => slimSam(common))],
  ['one-shot', wide('both halves at once', ({ common }) => oneShot(common))],
  ['iterative', wide('in three rounds', ({ common }) => inRounds(common))],
  ['alpha-falling', wide('stage 1 with a falling alpha', ({ common }) => withAlpha(common, { bottleneck: 'falling' }))],
  [
    'alpha-constant',
    wide('stage 2 with a constant alpha', ({ common }) => withAlpha(common, { embedding: 'constant' })),
  ],
  ['no-intermediates', wide('the image embedding alone', ({ common }) => withoutIntermediates(common))],
  ['uniform', wide('equal widths in all blocks', ({ common }) => slimSam({ ...common, ranking: 'local' }))],
  [
    'sensitivity',
    wide('widths that bear the same error', ({ common }) => slimSam({ ...common, ranking: 'sensitivity' })),
  ],
  ['reference-heads', wide('embedding channels fall in groups by head', (inputs) => headGroups(inputs))],
  ['reference-global-qkv', wide("no q, k, v of global blocks in stage 1's loss", (inputs) => withoutGlobalQkv(inputs))],
  ['reference-positions', wide('relative positions begin at 0', ({ common }) => afterPruning(common, zeroPositions))],
  [
    'reference-scale',
    wide('the scale of the pruned heads', ({ common, teacher }) => afterPruning(common, scaled(teacher))),
  ],
  ...[10, 30, 100, 300].map(
    (count) =>
      [`photographs-${count}`, wide(`on ${count} photographs`, ({ common }) => slimSam(common), count)] as const,
  ),
]);

function byLabels({ common, labels }: RowInputs): Recipe {
  if (!labels)
    throw new Error("ablate: expected photographs with masks in SA-1B's format for 'taylor-labels', got none");
  return slimSam({ ...common, loss: labels });
}

function inRounds({ ratio, ...common }: RowInputs['common']): Recipe {
  const rounds = Math.min(3, common.epochs);
  return iterative(
    Array.from({ length: rounds }, (_, i) => Number(((ratio * (i + 1)) / rounds).toFixed(4))),
    common,
  );
}

const mapAligning = (recipe: Recipe, change: (step: AlignStep) => AlignStep): Recipe => ({
  ...recipe,
  steps: recipe.steps.map((step) => (step.kind === 'align' ? change(step) : step)),
});

function withAlpha(
  common: RowInputs['common'],
  schedules: Partial<Record<'bottleneck' | 'embedding', 'constant' | 'falling'>>,
): Recipe {
  const until = Math.max(2, Math.round(common.epochs / 2));
  const alphaOf = (schedule: 'constant' | 'falling'): Alpha =>
    schedule === 'falling' ? { schedule, until } : { schedule, value: 0.5, until };
  return mapAligning(slimSam(common), (step) => {
    const schedule = schedules[step.loss as 'bottleneck' | 'embedding'];
    return schedule ? { ...step, alpha: alphaOf(schedule) } : step;
  });
}

function withoutIntermediates(common: RowInputs['common']): Recipe {
  return mapAligning(slimSam(common), ({ alpha: _, ...step }) => ({ ...step, loss: 'output' }));
}

/** The paper's code compares q, k, v of the student's global blocks with themselves: the term is 0. */
function withoutGlobalQkv({ common }: RowInputs): Recipe {
  const loss: AligningLoss = {
    name: 'bottleneck, without q, k, v of global blocks',
    taps: ({ bottleneck: { windowQkv, mlpHidden } }, a) => (a > 0 ? [...windowQkv, ...mlpHidden] : []),
    loss: ({ student, original, previous, taps, a }) =>
      bottleneckAligning({
        ...{ student, a, teacher: { embedding: original.embedding, taps: previous.taps } },
        taps: { ...taps.bottleneck, globalQkv: [] },
      }),
  };
  return mapAligning(slimSam(common), (step) => (step.loss === 'bottleneck' ? { ...step, loss } : step));
}

/**
 * The channels h * (width / heads) + c of all heads share a score. Means over an axis of the embedding's length leave the sums over that
 * axis as they are, so that it does not matter which of a square weight's axes is the embedding's.
 */
function headGroups({ common, teacher }: RowInputs): Recipe {
  const { heads } = teacher.config;
  const width = teacher.weights['image_encoder.patch_embed.proj.weight']!.shape[0]!;
  const { elements } = criteria.taylor as ElementCriterion;
  const criterion: ElementCriterion = {
    needsGradients: true,
    elements: (scored) => {
      let values = elements(scored);
      for (const [axis, size] of values.shape.entries())
        if (size === width) values = headMeans(values, { axis, heads });
      return values;
    },
  };
  const { steps, ...rest } = slimSam(common);
  const grouped = steps.map((step) =>
    step.kind === 'prune' && step.structure === 'embedding' ? { ...step, criterion } : step,
  );
  return { ...rest, steps: grouped };
}

function headMeans(values: tf.Tensor, { axis, heads }: { axis: number; heads: number }): tf.Tensor {
  const { shape } = values;
  const [before, after] = [shape.slice(0, axis), shape.slice(axis + 1)];
  const parts = [...before, heads, shape[axis]! / heads, ...after];
  const means = tf.mean(tf.reshape(values, parts), axis, true);
  return tf.reshape(tf.add(means, tf.zeros(parts)), shape);
}

/** Puts a change of the weights behind each pruning. */
function afterPruning(common: RowInputs['common'], change: (weights: Weights, before: string) => Weights): Recipe {
  const { steps, ...rest } = slimSam(common);
  return {
    ...rest,
    steps: steps.flatMap((step): RecipeStep[] => {
      if (step.kind !== 'prune') return [step];
      const custom: CustomStep = {
        ...{ kind: 'custom', name: `after '${step.name}'` },
        // biome-ignore lint/correctness/useYield: a step of the user's own may tell nothing
        run: async function* ({ weights }) {
          return change(weights, step.structure);
        },
      };
      return [step, custom];
    }),
  };
}

const mapWeights = (weights: Weights, change: (name: string, weight: tf.Tensor) => tf.Tensor): Weights =>
  Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, change(name, weight)]));

function zeroPositions(weights: Weights): Weights {
  return mapWeights(weights, (name, weight) => (name.includes('.rel_pos_') ? tf.zerosLike(weight) : tf.clone(weight)));
}

/** Keys times sqrt(head width before / after): what the scale of the narrower head amounts to. Relative positions look at queries alone. */
function scaled({ config }: Sam): (weights: Weights, structure: string) => Weights {
  return (weights, structure) =>
    mapWeights(weights, (name, weight) => {
      if (structure !== 'bottleneck' || !/\.attn\.qkv\.(weight|bias)$/.test(name)) return tf.clone(weight);
      return tf.tidy(() => {
        const rows = weight.shape[0]! / 3;
        const factor = Math.sqrt((config.headWidth * config.heads) / rows);
        const [q, k, v] = tf.split(weight, 3, 0);
        return tf.concat([q!, tf.mul(k!, factor), v!], 0);
      });
    });
}
