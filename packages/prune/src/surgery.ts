import { type Axes, type Axis, type Dimension, dims, factorsOf, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { dimensionOf, presentAxes } from './axis.ts';

/**
 * Removes channels: every axis that a dimension in `keep` touches is gathered at the kept indices, on product axes such as
 * [3, heads, 'blocks.0.head'] in every head and in q, k and v alike. Pure: new tensors, also for weights that stay as they are
 * (clones); the input remains valid. Gradients and optimizer moments with the same names are sliced by the same call.
 * @param keep sorted kept indices by dimension, from `select`.
 * @throws before any tensor is made, when a dimension is unknown or its indices are not sorted, unique and in range.
 */
export function prune(weights: Weights, axes: Axes, keep: Readonly<Record<string, readonly number[]>>): Weights {
  const present = presentAxes(axes, weights);
  const table = dims(present, weights);
  for (const [name, kept] of Object.entries(keep)) checkKept(name, kept, dimensionOf(table, name, 'prune').size);
  return tf.tidy(() =>
    Object.fromEntries(
      Object.entries(weights).map(([name, weight]) => {
        let pruned = tf.clone(weight);
        (present[name] ?? []).forEach((axis, i) => {
          if (!factorsOf(axis).some((part) => typeof part === 'string' && part in keep)) return;
          pruned = tf.gather(pruned, tf.tensor1d(keptRows(axis, keep, table), 'int32'), i);
        });
        return [name, pruned];
      }),
    ),
  );
}

/** Positions on a (product) axis whose every factor is kept, in row-major order. */
function keptRows(
  axis: Axis,
  keep: Readonly<Record<string, readonly number[]>>,
  table: ReadonlyMap<string, Dimension>,
): number[] {
  return factorsOf(axis).reduce<number[]>(
    (rows, part) => {
      const size = typeof part === 'number' ? part : table.get(part)!.size;
      const kept = (typeof part === 'string' && keep[part]) || Array.from({ length: size }, (_, i) => i);
      return rows.flatMap((row) => kept.map((index) => row * size + index));
    },
    [0],
  );
}

function checkKept(name: string, kept: readonly number[], size: number): void {
  if (kept.length === 0) throw new Error(`prune: expected at least one kept channel of '${name}', got none`);
  kept.forEach((index, i) => {
    if (!Number.isInteger(index) || index < 0 || index >= size) {
      throw new Error(`prune: expected kept channels of '${name}' in [0, ${size}), got ${index}`);
    }
    if (i > 0 && index <= kept[i - 1]!) {
      throw new Error(`prune: expected sorted, unique channels of '${name}', got ${kept[i - 1]} before ${index}`);
    }
  });
}
