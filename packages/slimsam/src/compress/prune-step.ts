import {
  applyPlan,
  classOf,
  composePlans,
  countParameters,
  criteria,
  importance,
  type Normalise,
  type Plan,
  plan,
  plannedShapes,
  type Scores,
} from '@slimsam/prune';
import { type Dimension, dims, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Network } from '../models/network.ts';
import { planTarget } from '../models/ratio-for.ts';
import { roundingOf } from '../models/rounding.ts';
import { sample } from '../photographs/order.ts';
import type { PruneStep } from '../recipe/recipe.ts';
import type { Context } from './context.ts';
import type { StageEvent } from './events.ts';
import type { StepResult } from './run-store.ts';
import { type ScoringCriterion, scoreByParts } from './score-parts.ts';
import { sensitiveRatios } from './sensitive-ratios.ts';

type Shapes = Parameters<typeof plan>[0]['weights'];

/** Dimensions that are scored and ranked in one way. */
interface Part {
  readonly dimensions: readonly string[];
  readonly ranking: 'local' | 'global' | 'sensitivity';
  readonly normalise: Normalise;
}

const isScored = (dimension: string, structure: PruneStep['structure']): boolean =>
  (structure !== 'bottleneck' && dimension === 'embed') ||
  (structure !== 'embedding' && /\.(head|mlp)$/.test(dimension));

/** Scores channels on a sample of the photographs and removes the lowest. The tensors are new. */
export async function* pruneStep(
  context: Context,
  { step, index, weights, plan: before }: { step: PruneStep; index: number; weights: Weights; plan: Plan },
): AsyncGenerator<StageEvent, StepResult, undefined> {
  const { network, seen, seed } = context;
  const { name } = step;
  const axes = network.axes(weights);
  const criterion = step.criterion ?? 'taylor';
  const leading = criterion === 'leading';
  const { needsGradients } = typeof criterion !== 'string' ? criterion : leading ? noGradients : criteria[criterion];
  const scored = sample(seen, { size: Math.min(seen.length, step.sample ?? 1000), seed: seed * 31 + index });
  const total = needsGradients ? scored.length : 0;
  yield { type: 'phase', kind: 'prune', index, name, done: 0, total };

  let scores: Scores | undefined;
  if (needsGradients) {
    const dimensions = [...dims(axes, weights).keys()].filter((dimension) => isScored(dimension, step.structure));
    const given = { ...step, criterion: criterion as ScoringCriterion };
    const scoring = scoreByParts(context, { step: given, index, weights, scored, dimensions });
    for (let next = await scoring.next(); ; next = await scoring.next()) {
      if (next.done) {
        scores = next.value;
        break;
      }
      yield { type: 'scored', index, name, done: next.value, total };
    }
  }
  const original = dims(before.axes, shapesOf(before));
  const roundTo = roundingOf(original, step.multiples);
  const parts = partsOf([...original.keys()], leading ? { ...step, ranking: 'local', normalise: 'none' } : step);
  let own: Plan | undefined;
  for (const [i, { dimensions, ranking, normalise }] of parts.entries()) {
    const shapes: Shapes = own ? plannedShapes(own) : weights;
    const now = dims(axes, shapes);
    const found = leading
      ? Object.fromEntries(dimensions.map((dimension) => [dimension, falling(now.get(dimension)!.size)]))
      : scores
        ? Object.fromEntries(dimensions.map((dimension) => [dimension, scores[dimension]!]))
        : await importance({ criterion, weights, axes, dimensions, seed: seed * 31 + index });
    const target = i === parts.length - 1 ? step.target : undefined;
    const ratios = ratiosOf(dimensions, { step, original, now });
    const bySensitivity = ranking === 'sensitivity';
    const made = await plan({
      ...{ weights: shapes, axes, importance: found, normalise, roundTo, costs: network.costs(weights) },
      ranking: bySensitivity ? 'local' : ranking,
      ratio: bySensitivity ? await sensitiveRatios(context, { weights, scores: found, ratios }) : ratios,
      ...(target && { target: planTarget(target) }),
    });
    own = own ? composePlans(own, made) : made;
  }
  const pruned = leading ? rescaled(applyPlan(own!, weights), { network, plan: own! }) : applyPlan(own!, weights);
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

const noGradients = { needsGradients: false };

/** Scores that keep the first channels. */
const falling = (size: number): Float32Array => Float32Array.from({ length: size }, (_, channel) => size - channel);

/**
 * Where the first channels hold nearly all of a stream, a layer norm over those alone gives sqrt(kept / all) of what it gave: the scales of
 * the encoder's make up for that. The given weights are used up.
 */
function rescaled(weights: Weights, { network, plan }: { network: Network; plan: Plan }): Weights {
  const kept = plan.keep.embed?.length;
  if (!kept) return weights;
  const all = dims(plan.axes, shapesOf(plan)).get('embed')!.size;
  const norms = Object.entries(weights).filter(([name]) => network.isEncoder(name) && /\.norm[12]\.weight$/.test(name));
  const scaled = norms.map(([name, weight]) => [name, tf.mul(weight, Math.sqrt(all / kept))] as const);
  tf.dispose(norms.map(([, weight]) => weight));
  return { ...weights, ...Object.fromEntries(scaled) };
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
    ...{ dimensions: ['embed'], ranking: ranking === 'global' ? ranking : 'local', normalise: normalise ?? 'mean' },
  };
  const bottleneck: Part = {
    dimensions: names.filter((name) => isScored(name, 'bottleneck')),
    ...{ ranking: ranking ?? 'global', normalise: normalise ?? 'standard' },
  };
  if (structure === 'both') return [embedding, bottleneck];
  return [structure === 'embedding' ? embedding : bottleneck];
}
