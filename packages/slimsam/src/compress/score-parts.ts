import {
  accumulateGradients,
  type Criterion,
  type CriterionName,
  disturbedLoss,
  type Gradients,
  importance,
  noise,
  type Scores,
} from '@slimsam/prune';
import { disposeWeights, type Weights } from '@slimsam/weights';
import type * as tf from '@tensorflow/tfjs-core';
import type { PruneStep } from '../recipe/recipe.ts';
import { type Context, pixelsOf, unreadable } from './context.ts';
import type { PartScores, PhotographPart } from './part-scorer.ts';

/** Photographs whose gradients are added up on the device; the scores of such parts are added in float64, in their order. */
const partSize = 32;

/** What scores channels; 'leading' does not look at any weights. */
export type ScoringCriterion = Exclude<NonNullable<PruneStep['criterion']>, 'leading'>;

interface Inputs {
  readonly step: Omit<PruneStep, 'criterion'> & { readonly criterion?: ScoringCriterion };
  readonly index: number;
  readonly weights: Weights;
  readonly scored: readonly number[];
  readonly dimensions: readonly string[];
}

/**
 * Scores channels by gradients over a sample of photographs, part by part, and tells how many are done. Scores whose parts add up
 * (disturbed Taylor with g² or |g|) are computed in parts of 32 photographs, added in float64 in the order of the parts, so that they do
 * not depend on who computed which; others in one part.
 *
 * @throws when no photograph can be read
 */
export async function* scoreByParts(
  context: Context,
  { step, index, weights, scored, dimensions }: Inputs,
): AsyncGenerator<number, Scores, undefined> {
  const { photographs, seed, recompute, scorer } = context;
  const { criterion = 'taylor', accumulate = 'squared', loss, sigma } = step;
  const adds = criterion === 'taylor' && accumulate !== 'signed';
  const size = adds ? partSize : scored.length;
  const parts = Array.from({ length: Math.ceil(scored.length / size) }, (_, i): PhotographPart => {
    return { indices: scored.slice(i * size, (i + 1) * size), first: i * size };
  });
  const totals = new Map<string, Float64Array>();
  let count = 0;
  const add = (part: PartScores) => {
    count += part.count;
    if (part.count === 0) return;
    for (const dimension of dimensions) {
      const values = part.scores[dimension]!;
      const sum = totals.get(dimension) ?? new Float64Array(values.length);
      totals.set(
        dimension,
        sum.map((value, channel) => value + values[channel]!),
      );
    }
  };
  if (scorer && adds && !loss) {
    const scoring = { accumulate, sigma, index, recompute };
    const model = { ...scorer.model, weights };
    for await (const part of scorer.score({ model, parts, scoring, dimensions })) {
      add(part);
      yield count;
    }
  } else {
    const lossOf = loss ?? disturbed(sigma);
    for (const part of parts) {
      const scoring = scorePart(context, { part, criterion, accumulate, lossOf, index, seed, weights, dimensions });
      for (let next = await scoring.next(); ; next = await scoring.next()) {
        if (next.done) {
          add(next.value);
          break;
        }
        yield count + next.value;
      }
    }
  }
  if (count === 0) throw unreadable(photographs);
  return Object.fromEntries([...totals].map(([dimension, sum]) => [dimension, Float32Array.from(sum)]));
}

/** The loss of disturbed Taylor (SlimSAM eq. 4). */
export function disturbed(sigma: number | undefined): NonNullable<PruneStep['loss']> {
  const given = sigma === undefined ? {} : { sigma };
  return (output, { seed }) => disturbedLoss(output, noise(output.shape, { seed, ...given }));
}

/** Scores one part, and tells how many of its photographs are done. */
export async function* scorePart(
  context: Pick<Context, 'network' | 'photographs' | 'signal' | 'recompute'>,
  inputs: {
    readonly part: PhotographPart;
    readonly criterion: CriterionName | Criterion;
    readonly accumulate: NonNullable<PruneStep['accumulate']>;
    readonly lossOf: NonNullable<PruneStep['loss']>;
    readonly index: number;
    readonly seed: number;
    readonly weights: Weights;
    readonly dimensions: readonly string[];
  },
): AsyncGenerator<number, PartScores, undefined> {
  const { network, signal, recompute } = context;
  const { part, criterion, accumulate, lossOf, index, seed, weights, dimensions } = inputs;
  const encoder = Object.fromEntries(Object.entries(weights).filter(([name]) => network.isEncoder(name)));
  const places = new Map(part.indices.map((photograph, i) => [photograph, part.first + i]));
  let gradients: Gradients | undefined;
  try {
    for await (const photograph of pixelsOf(context, part.indices)) {
      const from: Gradients | undefined = gradients;
      gradients = undefined; // used up, even when it throws
      gradients = await accumulateGradients({
        weights: encoder,
        batches: [photograph],
        mode: accumulate,
        ...(from && { from }),
        ...(signal && { signal }),
        // each photograph has noise of its own, a function of its place in the list
        loss: (trained, { pixels, index: own, name }): tf.Scalar => {
          const { embedding } = network.forward({ ...weights, ...trained }, pixels, { recompute });
          return lossOf(embedding, { seed: (seed * 1_000_003 + index * 100_003 + places.get(own)!) | 0, name });
        },
      });
      yield gradients.count;
    }
    if (!gradients) return { scores: {}, count: 0 };
    const axes = network.axes(weights);
    const scores = await importance({ criterion, weights, axes, dimensions, gradients });
    return { scores, count: gradients.count };
  } finally {
    if (gradients) disposeWeights(gradients.sums);
  }
}
