import { randomOf } from '../training/random.ts';
import type { ImageMeasures } from './measure-student.ts';
import type { CellResult } from './run-cell.ts';

/** A mean with the interval that 95 % of the resamplings lie in. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** A measure on one set of images. */
export interface Measured {
  readonly set: string;
  readonly measure: keyof ImageMeasures;
}

/**
 * The mean of a measure over the seeds and images of a row's cells; or, against other cells, of the difference to those of the same seed and
 * image. The interval resamples seeds and images, both with repetition.
 *
 * @throws when there are no cells, or none of the same seed
 */
export function summarise(
  cells: readonly CellResult[],
  { set, measure }: Measured,
  options: { readonly less?: readonly CellResult[]; readonly resamplings?: number; readonly seed?: number } = {},
): Interval {
  const { less, resamplings = 2000, seed = 1 } = options;
  const values = (cell: CellResult) => cell.sets[set]![measure];
  const table = cells.flatMap((cell) => {
    if (!less) return [[...values(cell)]];
    const other = less.find((each) => each.seed === cell.seed && each.ratio === cell.ratio);
    return other ? [values(cell).map((value, i) => value - values(other)[i]!)] : [];
  });
  if (table.length === 0) throw new Error('summarise: expected cells of the same seeds, got none');
  const images = table[0]!.length;
  const mean = (rows: readonly number[], columns: readonly number[]) => {
    let sum = 0;
    for (const row of rows) for (const column of columns) sum += table[row]![column]!;
    return sum / (rows.length * columns.length);
  };
  const all = (count: number) => Array.from({ length: count }, (_, i) => i);
  const random = randomOf(seed);
  const some = (count: number) => all(count).map(() => random.integer(0, count - 1));
  const means = all(resamplings)
    .map(() => mean(some(table.length), some(images)))
    .sort((a, b) => a - b);
  const at = (share: number) => means[Math.min(resamplings - 1, Math.floor(share * resamplings))]!;
  return { mean: mean(all(table.length), all(images)), low: at(0.025), high: at(0.975) };
}
