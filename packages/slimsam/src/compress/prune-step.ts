import {
  accumulateGradients,
  countMacs,
  countParameters,
  criteria,
  disturbedLoss,
  type Gradients,
  importance,
  noise,
  prune,
  select,
} from '@slimsam/prune';
import { dims, disposeWeights, type Weights } from '@slimsam/weights';
import type * as tf from '@tensorflow/tfjs-core';
import type { Network } from '../models/network.ts';
import { sample } from '../photographs/order.ts';
import type { PruneStep } from '../recipe/recipe.ts';
import { type Context, pixelsOf, unreadable } from './context.ts';
import type { StageEvent } from './events.ts';
import type { StepResult } from './run-store.ts';

type Kept = Readonly<Record<string, readonly number[]>>;

/** Dimensions that are ranked together, and what their widths are multiples of. */
interface Group {
  readonly dimensions: readonly string[];
  readonly multiple: number;
}

/** Scores channels on a sample of the photographs and removes the lowest. The tensors are new. */
export async function* pruneStep(
  context: Context,
  {
    step,
    index,
    weights,
    kept,
    widths,
  }: { step: PruneStep; index: number; weights: Weights; kept: Kept; widths: Kept },
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
  const keep: Record<string, number[]> = {};
  try {
    const sizes = dims(axes, weights);
    for (const { dimensions, multiple } of groupsOf(network, weights, { step, widths })) {
      const scores = await importance({
        ...{ criterion, weights, axes, dimensions, seed: seed * 31 + index },
        ...(gradients && { gradients }),
      });
      const now = dimensions.reduce((sum, dimension) => sum + sizes.get(dimension)!.size, 0);
      const before = dimensions.reduce((sum, dimension) => sum + widths[dimension]!.length, 0);
      const ratio = Math.max(0, 1 - ((1 - step.ratio) * before) / now);
      const isEmbedding = dimensions[0] === 'embed';
      Object.assign(
        keep,
        select({
          importance: scores,
          ratio,
          ranking: step.ranking ?? (isEmbedding ? 'local' : 'global'),
          normalise: step.normalise ?? (isEmbedding ? 'mean' : 'standard'),
          roundTo: multiple,
        }).keep,
      );
    }
  } finally {
    if (gradients) disposeWeights(gradients.sums);
  }
  const pruned = prune(weights, axes, keep);
  const composed = Object.fromEntries(
    Object.entries(kept).map(([dimension, origin]) => [
      dimension,
      keep[dimension] ? keep[dimension].map((channel) => origin[channel]!) : origin,
    ]),
  );
  const encoder = Object.fromEntries(Object.entries(pruned).filter(([weight]) => network.isEncoder(weight)));
  const of = (table: Kept) => Object.keys(keep).reduce((sum, dimension) => sum + table[dimension]!.length, 0);
  yield {
    ...{ type: 'pruned', index, name },
    widths: Object.fromEntries(Object.entries(keep).map(([dimension, channels]) => [dimension, channels.length])),
    parameters: countParameters(encoder),
    macs: countMacs(pruned, network.costs(pruned)).macs,
    ratio: 1 - of(composed) / of(widths),
  };
  return { weights: pruned, kept: composed };
}

/** All channels of every dimension. */
export function allKept(network: Network, weights: Weights): Kept {
  const table = dims(network.axes(weights), weights);
  return Object.fromEntries([...table].map(([name, { size }]) => [name, Array.from({ length: size }, (_, i) => i)]));
}

function groupsOf(
  network: Network,
  weights: Weights,
  { step: { structure, multiples = {} }, widths }: { step: PruneStep; widths: Kept },
): Group[] {
  const blocks = network.taps(weights).bottleneck.mlpHidden.map((_, i) => `blocks.${i}`);
  const group = (dimensions: string[], multiple: number | undefined): Group => {
    const quarter = widths[dimensions[0]!]!.length / 4;
    return { dimensions, multiple: multiple ?? [8, 4, 2].find((candidate) => candidate <= quarter) ?? 1 };
  };
  const embedding = () => group(['embed'], multiples.embedding);
  const heads = () =>
    group(
      blocks.map((block) => `${block}.head`),
      multiples.head,
    );
  const mlps = () =>
    group(
      blocks.map((block) => `${block}.mlp`),
      multiples.mlp,
    );
  if (structure === 'both') return [embedding(), heads(), mlps()];
  return structure === 'embedding' ? [embedding()] : [heads(), mlps()];
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
        loss: (trained, { pixels, index: place }) => {
          const { embedding } = network.forward({ ...weights, ...trained }, pixels, { recompute });
          return lossOf(embedding, { seed: (seed * 1_000_003 + index * 100_003 + place) | 0 });
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
