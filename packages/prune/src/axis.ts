import type { Axes, Axis, Dimension } from '@slimsam/weights';

/** The factors of an axis, in row-major order: `null` has none, a dimension has one. */
export function axisParts(axis: Axis): readonly (number | string)[] {
  if (axis === null) return [];
  return typeof axis === 'string' ? [axis] : axis;
}

/** A copy of the table with only the weights that are present: gradients and moments may cover a part of the model. */
export function presentAxes(axes: Axes, weights: Readonly<Record<string, unknown>>): Axes {
  return Object.fromEntries(Object.entries(axes).filter(([name]) => name in weights));
}

/** The dimension of that name. @throws when the table has none. */
export function dimensionOf(table: ReadonlyMap<string, Dimension>, name: string, caller: string): Dimension {
  const found = table.get(name);
  if (found === undefined) {
    throw new Error(`${caller}: expected one of the dimensions ${[...table.keys()].join(', ')}, got '${name}'`);
  }
  return found;
}

/** The number of elements. */
export function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1);
}
