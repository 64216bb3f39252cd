import { type Axes, type Axis, checkFields, type Dimension, dims } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { dimensionOf, presentAxes, type Shapes } from './axis.ts';
import { foldParts, type Scores } from './importance.ts';
import { type Reduction, reduceMembers } from './reduction.ts';

/** Sums over positions and photographs for the channels of intermediates. */
export interface Activations {
  /** By tap: its last axis, and a value for each channel. */
  readonly taps: ReadonlyMap<string, TapSums>;
  /** The sizes of the model's dimensions. */
  readonly dimensions: ReadonlyMap<string, Dimension>;
}

interface TapSums {
  readonly axis: Axis;
  /** Positions that were added up. */
  readonly count: number;
  readonly absolute: Float64Array;
  readonly sum: Float64Array;
  readonly squares: Float64Array;
}

export interface ActivationOptions<Batch> {
  /** The model's weights, or only their shapes, and its axes: they tell the sizes. */
  readonly weights: Shapes;
  readonly axes: Axes;
  /** Tap name -> what its last axis is, as `encoderTapAxes` tells. */
  readonly tapAxes: Readonly<Record<string, Axis>>;
  /** Intermediates [..., channels] of one batch, by tap. Runs in a tidy. */
  readonly taps: (batch: Batch) => Readonly<Record<string, tf.Tensor>>;
  readonly batches: AsyncIterable<Batch> | Iterable<Batch>;
  readonly signal?: AbortSignal;
}

/**
 * Adds up |a|, a and a² of the channels of intermediates, on the device, over positions and batches.
 * @throws when there is no batch, a tap has no axis or another number of channels, or the signal aborts (its reason)
 */
export async function accumulateActivations<Batch>(options: ActivationOptions<Batch>): Promise<Activations> {
  checkFields('accumulateActivations', options, {
    weights: 'object',
    tapAxes: 'object',
    taps: 'function',
    batches: 'iterable',
  });
  const { weights, axes, tapAxes, taps, batches, signal } = options;
  const found = new Map<string, TapSums>();
  for await (const batch of batches) {
    signal?.throwIfAborted();
    const moments = tf.tidy(() =>
      Object.entries(taps(batch)).map(([name, tap]) => {
        if (!Object.hasOwn(tapAxes, name))
          throw new Error(
            `accumulateActivations: expected a tap among ${Object.keys(tapAxes).join(', ')}, got '${name}'`,
          );
        const rows = tf.reshape(tap, [-1, tap.shape.at(-1)!]);
        const of = (values: tf.Tensor) => tf.sum(values, 0);
        return { name, count: rows.shape[0]!, sums: [of(tf.abs(rows)), of(rows), of(tf.square(rows))] };
      }),
    );
    try {
      for (const { name, count, sums } of moments) {
        const values = await Promise.all(sums.map((sum) => sum.data<'float32'>()));
        const before = found.get(name);
        const added = values.map((list, i) => {
          const known = before && [before.absolute, before.sum, before.squares][i]!;
          return Float64Array.from(list, (value, channel) => value + (known?.[channel] ?? 0));
        });
        const [absolute, sum, squares] = added as [Float64Array, Float64Array, Float64Array];
        found.set(name, { axis: tapAxes[name]!, count: count + (before?.count ?? 0), absolute, sum, squares });
      }
    } finally {
      tf.dispose(moments.map(({ sums }) => sums));
    }
  }
  if (found.size === 0) throw new Error('accumulateActivations: expected at least one batch with a tap, got none');
  return { taps: found, dimensions: dims(presentAxes(axes, weights), weights) };
}

export interface ActivationImportanceOptions {
  readonly activations: Activations;
  /** The dimensions to score, which taps have as their last axis. */
  readonly dimensions: readonly string[];
  /** 'mean': of |a|. 'variance': of a over positions and photographs. 'norm': the square root of the mean of a². */
  readonly by: 'mean' | 'variance' | 'norm';
  /** Over the taps that have the dimension; q, k and v are three members. Default 'mean'. */
  readonly reduction?: Reduction;
}

/**
 * Scores channels by what goes through them. Channels of one dimension that are members together (of every head) are added up.
 * @throws when no tap has a dimension
 */
export function activationImportance(options: ActivationImportanceOptions): Scores {
  checkFields('activationImportance', options, { activations: 'object', dimensions: 'list', by: 'string' });
  const { activations, dimensions, by, reduction = 'mean' } = options;
  const table = activations.dimensions;
  return Object.fromEntries(
    dimensions.map((dimension) => {
      dimensionOf(table, dimension, 'activationImportance');
      const members = [...activations.taps.values()].flatMap((sums) =>
        foldParts(statistic(sums, by), { axis: sums.axis, dimension, table }),
      );
      if (members.length === 0)
        throw new Error(
          `activationImportance: expected a tap of '${dimension}', got ${[...activations.taps.keys()].join(', ')}`,
        );
      return [dimension, reduceMembers(members, reduction)];
    }),
  );
}

function statistic({ count, absolute, sum, squares }: TapSums, by: ActivationImportanceOptions['by']): Float64Array {
  if (by === 'mean') return absolute.map((value) => value / count);
  if (by === 'norm') return squares.map((value) => Math.sqrt(value / count));
  return squares.map((value, i) => Math.max(0, value / count - (sum[i]! / count) ** 2));
}
