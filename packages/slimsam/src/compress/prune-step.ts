import {
  accumulateGradients,
  applyPlan,
  classOf,
  composePlans,
  countParameters,
  criteria,
  disturbedLoss,
  type Gradients,
  importance,
  type Normalise,
  noise,
  type Plan,
  plan,
  plannedShapes,
} from '@slimsam/prune';
import { type Dimension, dims, disposeWeights, type Weights } from '@slimsam/weights';
import type * as tf from '@tensorflow/tfjs-core';
import type { Network } from '../models/network.ts';
import { planTarget } from '../models/ratio-for.ts';
import { roundingOf } from '../models/rounding.ts';
import { sample } from '../photographs/order.ts';
import type { PruneStep } from '../recipe/recipe.ts';
import { type Context, pixelsOf, unreadable } from './context.ts';
import type { StageEvent } from './events.ts';
import type { StepResult } from './run-store.ts';

type Shapes = Parameters<typeof plan>[0]['weights'];

/** Dimensions that are scored and ranked in one way. */
interface Part {
  readonly dimensions: readonly string[];
  readonly ranking: 'local' | 'global';
  readonly normalise: Normalise;
}

/** Scores channels on a sample of the photographs and removes the lowest. The tensors are new. */
export async function* pruneStep(
  context: Context,
  { step, index, weights, plan: before }: { step: PruneStep; index: number; weights: Weights; plan: Plan },
): AsyncGenerator<StageEvent, StepResult, undefined> {
  const { network, seen, seed } = context;
  const { name } = step;
  const axes = network.axes(weights);
  const criterion = step.criterion ?? 'taylor';
  const { needsGradients } = typeof criterion === 'string' ? criteria[criterion] : criterion;
  const scored = sample(seen, { size: Math.min(seen.length, step.sample ?? 1000), seed: seed * 31 + index });
  const total = needsGradients ? scored.length : 0;
  yield { type: 'phase', kind: 'prune', index, name, done: 0, total };

  let gradients: Gradients | undefined;
  if (needsGradients) {
    const scoring = scoreOn(context, { step, index, weights, scored });
    for (let next = await scoring.next(); ; next = await scoring.next()) {
      if (next.done) {
        gradients = next.value;
        break;
      }
      yield { type: 'scored', index, name, done: next.value, total };
    }
  }
  const original = dims(before.axes, shapesOf(before));
  const roundTo = roundingOf(original, step.multiples);
  const parts = partsOf([...original.keys()], step);
  let own: Plan | undefined;
  try {
    for (const [i, { dimensions, ranking, normalise }] of parts.entries()) {
      const scores = await importance({
        ...{ criterion, weights, axes, dimensions, seed: seed * 31 + index },
        ...(gradients && { gradients }),
      });
      const shapes: Shapes = own ? plannedShapes(own) : weights;
      const now = dims(axes, shapes);
      const target = i === parts.length - 1 ? step.target : undefined;
      const made = await plan({
        ...{ weights: shapes, axes, importance: scores, ranking, normalise, roundTo, costs: network.costs(weights) },
        ratio: ratiosOf(dimensions, { step, original, now }),
        ...(target && { target: planTarget(target) }),
      });
      own = own ? composePlans(own, made) : made;
    }
  } finally {
    if (gradients) disposeWeights(gradients.sums);
  }
  const pruned = applyPlan(own!, weights);
  const whole = composePlans(before, own!);
  const encoder = Object.fromEntries(Object.entries(pruned).filter(([weight]) => network.isEncoder(weight)));
  const touched = Object.keys(own!.keep);
  const kept = touched.reduce((sum, dimension) => sum + own!.keep[dimension]!.length, 0);
  yield {
    ...{ type: 'pruned', index, name },
    widths: Object.fromEntries(touched.map((dimension) => [dimension, own!.keep[dimension]!.length])),
    parameters: countParameters(encoder),
    macs: own!.after.macs!,
    ratio: 1 - kept / touched.reduce((sum, dimension) => sum + original.get(dimension)!.size, 0),
    ...(own!.target && { target: own!.target }),
  };
  return { weights: pruned, plan: whole };
}

/** A plan that keeps all. */
export function wholePlan(network: Network, weights: Weights): Promise<Plan> {
  const axes = network.axes(weights);
  const nothing = { importance: {}, ratio: 0, ranking: 'local', normalise: 'none' } as const;
  return plan({ ...nothing, weights, axes, costs: network.costs(weights) });
}

const shapesOf = ({ shapes }: Plan): Shapes =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, { shape }]));

/** The part of today's channels that goes, by class, for the step's share of the original's to be gone. */
function ratiosOf(
  dimensions: readonly string[],
  inputs: { step: PruneStep; original: ReadonlyMap<string, Dimension>; now: ReadonlyMap<string, Dimension> },
): Record<string, number> {
  const { step, original, now } = inputs;
  const sums = new Map<string, { before: number; now: number }>();
  for (const name of dimensions) {
    const sum = sums.get(classOf(name)) ?? { before: 0, now: 0 };
    sums.set(classOf(name), { before: sum.before + original.get(name)!.size, now: sum.now + now.get(name)!.size });
  }
  const ratioOf = (sum: { before: number; now: number }) => Math.max(0, 1 - ((1 - step.ratio) * sum.before) / sum.now);
  return Object.fromEntries([...sums].map(([name, sum]) => [name, ratioOf(sum)]));
}

function partsOf(names: readonly string[], { structure, ranking, normalise }: PruneStep): Part[] {
  const embedding: Part = {
    ...{ dimensions: ['embed'], ranking: ranking ?? 'local', normalise: normalise ?? 'mean' },
  };
  const bottleneck: Part = {
    dimensions: names.filter((name) => /\.(head|mlp)$/.test(name)),
    ...{ ranking: ranking ?? 'global', normalise: normalise ?? 'standard' },
  };
  if (structure === 'both') return [embedding, bottleneck];
  return [structure === 'embedding' ? embedding : bottleneck];
}

/** Adds up the gradients over the sample, and tells after each photograph how many are done. */
async function* scoreOn(
  context: Context,
  { step, index, weights, scored }: { step: PruneStep; index: number; weights: Weights; scored: readonly number[] },
): AsyncGenerator<number, Gradients, undefined> {
  const { network, seed, signal, recompute } = context;
  const encoder = Object.fromEntries(Object.entries(weights).filter(([name]) => network.isEncoder(name)));
  const lossOf =
    step.loss ??
    ((output: tf.Tensor, { seed }: { readonly seed: number }) =>
      disturbedLoss(output, noise(output.shape, { seed, ...(step.sigma !== undefined && { sigma: step.sigma }) })));
  let gradients: Gradients | undefined;
  try {
    for await (const photograph of pixelsOf(context, scored)) {
      const from: Gradients | undefined = gradients;
      gradients = undefined; // used up, even when it throws
      gradients = await accumulateGradients({
        weights: encoder,
        batches: [photograph],
        mode: step.accumulate ?? 'squared',
        ...(from && { from }),
        ...(signal && { signal }),
        // each photograph has noise of its own, a function of its place in the list
        loss: (trained, { pixels, index: place, name }) => {
          const { embedding } = network.forward({ ...weights, ...trained }, pixels, { recompute });
          return lossOf(embedding, { seed: (seed * 1_000_003 + index * 100_003 + place) | 0, name });
        },
      });
      yield gradients.count;
    }
  } catch (error) {
    if (gradients) disposeWeights(gradients.sums);
    throw error;
  }
  if (!gradients) throw unreadable(context.photographs);
  return gradients;
}
