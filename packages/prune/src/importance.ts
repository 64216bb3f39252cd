import { type Axes, checkFields, type Dimension, dims, partsOf, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { dimensionOf, factorSizes, presentAxes, product } from './axis.ts';
import { type Criterion, type CriterionName, criteria, type ElementCriterion } from './criteria.ts';
import type { Gradients } from './gradients.ts';
import { uniformFrom } from './random.ts';
import { type Reduction, reduceMembers } from './reduction.ts';

/** Scores [channels] by dimension. */
export type Scores = Record<string, Float32Array>;

export interface ImportanceOptions {
  /** A name from `criteria`, or your own. */
  readonly criterion: CriterionName | Criterion;
  readonly weights: Weights;
  readonly axes: Axes;
  /** The dimensions to score, for example ['embed']. */
  readonly dimensions: readonly string[];
  /** From `accumulateGradients`; taylor and hessian need them. */
  readonly gradients?: Gradients;
  /** For the random criterion. Default 0. */
  readonly seed?: number;
  /**
   * Which weights give scores: 'matrices' (default) are the linear and convolution weights, `*.weight` with two axes or more; 'all' takes
   * biases, norms and tables too.
   */
  readonly scored?: 'matrices' | 'all' | ((name: string, shape: readonly number[]) => boolean);
  /** How the scores of a dimension's members become one. Default 'mean'. */
  readonly reduction?: Reduction;
}

/**
 * For every channel of a dimension: the criterion's sum over each of its members, and their mean (or other reduction) (SlimSAM section 3.2).
 * A member is a weight that the dimension touches; q, k and v that are stacked in one weight are three. Weights and gradients are read once,
 * on the device; a vector for each axis comes back. Not normalised: that is `select`'s part.
 * @returns one Float32Array [channels] for each dimension.
 * @throws when a dimension, a gradient or a score is missing.
 */
export async function importance(options: ImportanceOptions): Promise<Scores> {
  checkFields('importance', options, { weights: 'object', axes: 'object', dimensions: 'list' });
  const { weights, axes, dimensions, seed = 0, scored = 'matrices', reduction = 'mean' } = options;
  const criterion = criterionOf(options.criterion);
  const table = dims(presentAxes(axes, weights), weights);
  const sizes = dimensions.map((name) => dimensionOf(table, name, 'importance').size);
  if ('channels' in criterion) {
    const random = uniformFrom(seed);
    return Object.fromEntries(
      dimensions.map((name, i) => [name, Float32Array.from(criterion.channels(sizes[i]!, random))]),
    );
  }
  const test = scored === 'matrices' ? isMatrix : scored === 'all' ? () => true : scored;
  const wanted = new Map<string, number[]>(); // weight -> axes whose channels are asked for
  for (const name of dimensions) {
    const members = table.get(name)!.members.filter(({ weight }) => test(weight, weights[weight]!.shape));
    if (members.length === 0)
      throw new Error(`importance: expected a linear or convolution weight in '${name}', got none`);
    for (const { weight, axis } of members) wanted.set(weight, [...new Set([...(wanted.get(weight) ?? []), axis])]);
  }
  if (criterion.needsGradients) for (const weight of wanted.keys()) checkGradient(weight, options);
  const vectors = await sumByAxis(wanted, criterion, options);
  return Object.fromEntries(
    dimensions.map((name) => {
      const members = table.get(name)!.members.flatMap(({ weight, axis }) => {
        const vector = vectors.get(weight)?.get(axis);
        return vector ? foldParts(vector, { axis: axes[weight]![axis]!, dimension: name, table }) : [];
      });
      return [name, reduceMembers(members, reduction)];
    }),
  );
}

function criterionOf(given: ImportanceOptions['criterion']): Criterion {
  if (typeof given === 'object' && given !== null) return given;
  if (Object.hasOwn(criteria, given)) return criteria[given];
  throw new Error(`importance: expected one of the criteria ${Object.keys(criteria).join(', ')}, got '${given}'`);
}

function isMatrix(name: string, shape: readonly number[]): boolean {
  return name.endsWith('.weight') && shape.length >= 2;
}

function checkGradient(weight: string, { weights, gradients }: ImportanceOptions): void {
  const got = gradients?.sums[weight]?.shape;
  const expected = weights[weight]!.shape;
  if (got?.join() !== expected.join()) {
    throw new Error(
      `importance: expected a gradient [${expected.join(', ')}] of '${weight}', got ${got ? `[${got.join(', ')}]` : 'none'}; ` +
        'run accumulateGradients on these weights',
    );
  }
}

/** The elements of each weight summed over all axes but one: weight -> axis -> [length]. */
async function sumByAxis(
  wanted: ReadonlyMap<string, readonly number[]>,
  criterion: ElementCriterion,
  { weights, gradients }: ImportanceOptions,
): Promise<Map<string, Map<number, Float32Array>>> {
  const sums: { weight: string; axis: number; vector: tf.Tensor }[] = [];
  try {
    for (const [weight, axesOfWeight] of wanted) {
      const vectors = tf.tidy(() => {
        const elements = criterion.elements({
          weight: weights[weight]!,
          ...(gradients &&
            Object.hasOwn(gradients.sums, weight) && {
              gradient: { sum: gradients.sums[weight]!, mode: gradients.mode, count: gradients.count },
            }),
        });
        if (elements.shape.join() !== weights[weight]!.shape.join())
          throw new Error(
            `importance: expected the criterion's elements of '${weight}' [${weights[weight]!.shape.join(', ')}], got [${elements.shape.join(', ')}]`,
          );
        return axesOfWeight.map((axis) => sumAround(elements, axis));
      });
      vectors.forEach((vector, i) => {
        sums.push({ weight, axis: axesOfWeight[i]!, vector });
      });
    }
    const values = await Promise.all(sums.map(({ vector }) => vector.data<'float32'>()));
    const found = new Map<string, Map<number, Float32Array>>();
    sums.forEach(({ weight, axis }, i) => {
      const byAxis = found.get(weight) ?? new Map<number, Float32Array>();
      found.set(weight, byAxis.set(axis, values[i]!));
    });
    return found;
  } finally {
    tf.dispose(sums.map(({ vector }) => vector));
  }
}

/** Sums over all axes but one -> [length of that axis]. */
function sumAround(elements: tf.Tensor, axis: number): tf.Tensor {
  const { shape } = elements;
  const length = shape[axis]!;
  const after = product(shape.slice(axis + 1));
  const rows = after === 1 ? elements : tf.sum(tf.reshape(elements, [-1, after]), 1); // [before * length]
  const before = product(shape.slice(0, axis));
  return before === 1 ? tf.reshape(rows, [length]) : tf.sum(tf.reshape(rows, [before, length]), 0);
}

/** The sums [length] of an axis for one of its dimensions: [channels] for each part that has it. */
export function foldParts(
  vector: ArrayLike<number>,
  { axis, dimension, table }: { axis: Axes[string][number]; dimension: string; table: ReadonlyMap<string, Dimension> },
): Float64Array[] {
  const members: Float64Array[] = [];
  let start = 0;
  for (const part of partsOf(axis)) {
    const sizes = factorSizes(part, table);
    const length = product(sizes);
    const at = part.indexOf(dimension);
    if (at >= 0) {
      const channels = new Float64Array(sizes[at]!);
      const after = product(sizes.slice(at + 1));
      for (let i = 0; i < length; i++) channels[Math.floor(i / after) % channels.length]! += vector[start + i]!;
      members.push(channels);
    }
    start += length;
  }
  return members;
}
