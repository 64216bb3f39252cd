import { type Axes, type Axis, checkFields, type Dimension, dims, partsOf, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { dimensionOf, type Keep, keptRows, presentAxes, product, type Shapes, touches } from './axis.ts';

/**
 * Removes channels: every axis that a dimension in `keep` touches is gathered at the kept indices, on product axes such as
 * ['blocks.0.heads', 'blocks.0.head'] in every head, and in q, k and v alike. Pure: new tensors, also for weights that stay as they are
 * (clones); the input remains valid. Gradients and optimizer moments with the same names are sliced by the same call.
 * @param keep sorted kept indices by dimension, from `select`.
 * @throws before any tensor is made, when a dimension is unknown or its indices are not sorted, unique and in range.
 */
export function prune(weights: Weights, axes: Axes, keep: Keep): Weights {
  const { present, table } = checked(weights, axes, { keep, caller: 'prune' });
  return tf.tidy(() =>
    Object.fromEntries(
      Object.entries(weights).map(([name, weight]) => {
        let pruned = tf.clone(weight);
        for (const [i, axis] of (present[name] ?? []).entries()) {
          if (touches(axis, keep)) pruned = tf.gather(pruned, tf.tensor1d(keptRows(axis, keep, table), 'int32'), i);
        }
        return [name, pruned];
      }),
    ),
  );
}

/**
 * Sets what `prune` would remove to zero, in tensors of the same shapes. Without a norm over the dimension, as in heads and MLPs, the
 * model then computes what the pruned one does.
 * @throws as `prune`
 */
export function zeroChannels(weights: Weights, axes: Axes, keep: Keep): Weights {
  const { present, table } = checked(weights, axes, { keep, caller: 'zeroChannels' });
  return tf.tidy(() =>
    Object.fromEntries(
      Object.entries(weights).map(([name, weight]) => {
        let zeroed = tf.clone(weight);
        for (const [i, axis] of (present[name] ?? []).entries()) {
          if (!touches(axis, keep)) continue;
          const mask = new Float32Array(weight.shape[i]!);
          for (const row of keptRows(axis, keep, table)) mask[row] = 1;
          const alongAxis = weight.shape.map((length, at) => (at === i ? length : 1));
          zeroed = tf.mul(zeroed, tf.tensor(mask, alongAxis));
        }
        return [name, zeroed];
      }),
    ),
  );
}

/** The shapes that `prune` would give. @throws as `prune` */
export function prunedShapes(shapes: Shapes, axes: Axes, keep: Keep): Record<string, { shape: number[] }> {
  const { present, table } = checked(shapes, axes, { keep, caller: 'prunedShapes' });
  const widthOf = (name: string) =>
    (Object.hasOwn(keep, name) ? keep[name]! : { length: table.get(name)!.size }).length;
  return resizedShapes(shapes, present, widthOf);
}

/** The shapes of a model whose dimensions have other widths. */
export function resizedShapes(
  shapes: Shapes,
  axes: Axes,
  widthOf: (dimension: string) => number,
): Record<string, { shape: number[] }> {
  const lengthOf = (axis: Axis) =>
    partsOf(axis).reduce(
      (sum, part) => sum + product(part.map((factor) => (typeof factor === 'number' ? factor : widthOf(factor)))),
      0,
    );
  return Object.fromEntries(
    Object.entries(shapes).map(([name, { shape }]) => {
      const list = Object.hasOwn(axes, name) ? axes[name]! : [];
      return [name, { shape: shape.map((length, i) => (list[i] ? lengthOf(list[i]) : length)) }];
    }),
  );
}

function checked(
  weights: Shapes,
  axes: Axes,
  { keep, caller }: { keep: Keep; caller: string },
): { present: Axes; table: ReadonlyMap<string, Dimension> } {
  checkFields(caller, { weights, axes }, { weights: 'object', axes: 'object' });
  const present = presentAxes(axes, weights);
  const table = dims(present, weights);
  if (typeof keep !== 'object' || keep === null)
    throw new Error(`${caller}: expected lists of kept channels by dimension, got ${String(keep)}`);
  for (const [name, kept] of Object.entries(keep)) {
    checkKept(kept, { name, size: dimensionOf(table, name, caller).size, caller });
  }
  return { present, table };
}

/** @throws when kept indices are not sorted, unique and in range, or there are none */
export function checkKept(
  kept: readonly number[],
  { name, size, caller }: { name: string; size: number; caller: string },
): void {
  if (!Array.isArray(kept))
    throw new Error(`${caller}: expected a list of kept channels of '${name}', got ${JSON.stringify(kept)}`);
  if (kept.length === 0) throw new Error(`${caller}: expected at least one kept channel of '${name}', got none`);
  kept.forEach((index, i) => {
    if (!Number.isInteger(index) || index < 0 || index >= size) {
      throw new Error(`${caller}: expected kept channels of '${name}' in [0, ${size}), got ${index}`);
    }
    if (i > 0 && index <= kept[i - 1]!) {
      throw new Error(`${caller}: expected sorted, unique channels of '${name}', got ${kept[i - 1]} before ${index}`);
    }
  });
}
