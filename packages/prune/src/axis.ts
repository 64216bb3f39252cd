import type { Axes, Dimension } from '@slimsam/weights';

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
