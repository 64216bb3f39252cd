import { type Axes, type Dimension, dims, factorsOf, type Member, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { dimensionOf, presentAxes, product } from './axis.ts';
import { type Criterion, criteria } from './criteria.ts';
import { uniformFrom } from './random.ts';

export interface ImportanceOptions {
  /** A name from `criteria`, or your own. */
  criterion: keyof typeof criteria | Criterion;
  weights: Weights;
  axes: Axes;
  /** The dimensions to score, for example ['embed']. */
  dimensions: readonly string[];
  /** From `accumulateGradients`; the Taylor criteria need them. */
  gradients?: Weights;
  /** For the random criterion. Default 0. */
  seed?: number;
  /** Which weights give scores. Default: linear and convolution weights, that is `*.weight` with two axes or more. */
  scored?: (name: string, shape: readonly number[]) => boolean;
}

/**
 * The group mean: for every channel of a dimension, the criterion's sum over its weights, averaged over the linear and
 * convolution weights that the dimension touches (SlimSAM section 3.2). Norms, biases and tables give no score.
 * Not normalised: that is `select`'s part.
 * @returns one Float32Array [channels] for each dimension.
 * @throws when a dimension, a gradient or a score is missing.
 */
export async function importance(options: ImportanceOptions): Promise<Record<string, Float32Array>> {
  const { weights, axes, dimensions, seed = 0, scored = isMatrix } = options;
  const criterion = typeof options.criterion === 'string' ? criteria[options.criterion] : options.criterion;
  if (criterion === undefined) {
    const known = Object.keys(criteria).join(', ');
    throw new Error(`importance: expected one of the criteria ${known}, got '${String(options.criterion)}'`);
  }
  const table = dims(presentAxes(axes, weights), weights);
  const random = uniformFrom(seed);
  const members = dimensions.map((name) => {
    const found = dimensionOf(table, name, 'importance').members.filter((member) =>
      scored(member.weight, weights[member.weight]!.shape),
    );
    if (found.length === 0)
      throw new Error(`importance: expected a linear or convolution weight in '${name}', got none`);
    if (criterion.needsGradients) for (const member of found) checkGradient(member, options);
    return found;
  });
  const scores = tf.tidy(() =>
    dimensions.map((name, i) => {
      const terms = members[i]!.map((member) => {
        const shape = around(member, name, axes, table, weights);
        const gradient = options.gradients?.[member.weight];
        return criterion.score({
          weight: tf.reshape(weights[member.weight]!, shape), // [...] -> [before, channels, after]
          ...(gradient && { gradient: tf.reshape(gradient, shape) }),
          random,
        });
      });
      return tf.div(tf.addN(terms), terms.length);
    }),
  );
  try {
    const values = await Promise.all(scores.map((score) => score.data()));
    return Object.fromEntries(dimensions.map((name, i) => [name, values[i] as Float32Array]));
  } finally {
    tf.dispose(scores);
  }
}

function isMatrix(name: string, shape: readonly number[]): boolean {
  return name.endsWith('.weight') && shape.length >= 2;
}

function checkGradient({ weight }: Member, { weights, gradients }: ImportanceOptions): void {
  const got = gradients?.[weight]?.shape;
  const expected = weights[weight]!.shape;
  if (got?.join() !== expected.join()) {
    throw new Error(
      `importance: expected a gradient [${expected.join(', ')}] of '${weight}', got ${got ? `[${got.join(', ')}]` : 'none'}; ` +
        'run accumulateGradients on these weights',
    );
  }
}

/** The weight's shape as [before, channels, after] around one dimension of one (product) axis. */
function around(
  { weight, axis }: Member,
  dimension: string,
  axes: Axes,
  table: ReadonlyMap<string, Dimension>,
  weights: Weights,
): [number, number, number] {
  const shape = weights[weight]!.shape;
  const parts = factorsOf(axes[weight]![axis]!);
  const sizes = parts.map((part) => (typeof part === 'number' ? part : table.get(part)!.size));
  const at = parts.indexOf(dimension);
  return [
    product(shape.slice(0, axis)) * product(sizes.slice(0, at)),
    sizes[at]!,
    product(sizes.slice(at + 1)) * product(shape.slice(axis + 1)),
  ];
}
