import { type Axes, type Axis, checkFields, type Dimension, type Product, partsOf } from '@slimsam/weights';

/** Tensors, or only their shapes. */
export type Shapes = Readonly<Record<string, { readonly shape: readonly number[] }>>;

/** Sorted kept indices by dimension. */
export type Keep = Readonly<Record<string, readonly number[]>>;

/** A copy of the table with only the weights that are present: gradients and moments may cover a part of the model. */
export function presentAxes(axes: Axes, weights: Readonly<Record<string, unknown>>): Axes {
  return Object.fromEntries(Object.entries(axes).filter(([name]) => Object.hasOwn(weights, name)));
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

/** The sizes of a product's factors. */
export function factorSizes(part: Product, table: ReadonlyMap<string, Dimension>): number[] {
  return part.map((factor) => (typeof factor === 'number' ? factor : table.get(factor)!.size));
}

/** Positions on an axis whose every factor is kept, in order. */
export function keptRows(axis: Axis, keep: Keep, table: ReadonlyMap<string, Dimension>): number[] {
  const rows: number[] = [];
  let start = 0;
  for (const part of partsOf(axis)) {
    const sizes = factorSizes(part, table);
    let within = [0];
    part.forEach((factor, i) => {
      const kept =
        typeof factor === 'string' && Object.hasOwn(keep, factor) ? keep[factor]! : [...Array(sizes[i]).keys()];
      within = within.flatMap((row) => kept.map((index) => row * sizes[i]! + index));
    });
    for (const row of within) rows.push(start + row);
    start += product(sizes);
  }
  return rows;
}

/** Whether an axis has one of the dimensions. */
export function touches(axis: Axis, keep: Keep): boolean {
  return partsOf(axis).some((part) => part.some((factor) => typeof factor === 'string' && Object.hasOwn(keep, factor)));
}

/** Dimensions whose names differ in numbers only are of one class: 'blocks.3.mlp' is one of 'blocks.*.mlp'. */
export function classOf(dimension: string): string {
  checkFields('classOf', { dimension }, { dimension: 'string' });
  return dimension.replaceAll(/\d+/g, '*');
}

/** One value for all dimensions, or by dimension ('blocks.3.mlp') or class ('blocks.*.mlp'). */
export type PerDimension<T> = T | Readonly<Record<string, T>>;

/** The value for a dimension; undefined where a table has none. */
export function valueFor<T extends number | string>(
  values: PerDimension<T> | undefined,
  dimension: string,
): T | undefined {
  if (typeof values !== 'object') return values;
  if (Object.hasOwn(values, dimension)) return values[dimension];
  const named = classOf(dimension);
  return Object.hasOwn(values, named) ? values[named] : undefined;
}
