import { type ReportIntervals, type ReportTable, writeReport } from '@slimsam/eval/report';
import { measures } from './measure-student.ts';
import { ablationRows, defaultRow } from './rows.ts';
import type { CellResult } from './run-cell.ts';
import { type Interval, type Measured, summarise } from './summarise-cells.ts';

const headings = { error: 'error', cosine: 'cosine', teacher: "IoU with the teacher's", labels: 'mIoU' } as const;

/**
 * Writes the table, the plot and the page of the finished cells: a row of the table for each way to compress at each ratio, and how much its
 * masks' agreement with the teacher's is above that of the default, seed by seed and image by image.
 *
 * @throws as `writeReport` does, or when there are no cells
 */
export async function writeAblationReport(
  folder: string,
  { cells, summary }: { readonly cells: readonly CellResult[]; readonly summary: string },
): Promise<{ page: string }> {
  if (cells.length === 0) throw new Error('ablate: expected finished cells, got none');
  const sets = Object.keys(cells[0]!.sets);
  const ratios = [...new Set(cells.map(({ ratio }) => ratio))].sort((a, b) => a - b);
  const { page } = await writeReport({
    ...{ folder, title: 'Ways to compress, compared', summary },
    tables: ratios.map((ratio) => tableOf(cells, { ratio, sets })),
    plots: sets.flatMap((set) => ratios.map((ratio) => plotOf(cells, { ratio, set }))),
  });
  return { page };
}

/** The cells of a way at a ratio. */
const of = (cells: readonly CellResult[], row: string, ratio: number): CellResult[] =>
  cells.filter((cell) => cell.row === row && cell.ratio === ratio);

const sharesSeed = (some: readonly CellResult[], others: readonly CellResult[]): boolean =>
  some.some(({ seed }) => others.some((cell) => cell.seed === seed));

const rowNames = (cells: readonly CellResult[]): string[] =>
  [...ablationRows.keys()].filter((row) => cells.some((cell) => cell.row === row));

function tableOf(
  cells: readonly CellResult[],
  { ratio, sets }: { ratio: number; sets: readonly string[] },
): ReportTable {
  const columns: Measured[] = sets.flatMap((set) => measures.map((measure) => ({ set, measure })));
  const first = sets[0]!;
  const defaults = of(cells, defaultRow, ratio);
  const rows = rowNames(cells).flatMap((row) => {
    const own = of(cells, row, ratio);
    if (own.length === 0) return [];
    const mean = (value: (cell: CellResult) => number) => own.reduce((sum, cell) => sum + value(cell), 0) / own.length;
    return [
      [
        row,
        own.length,
        Math.round(mean(({ optimizerSteps }) => optimizerSteps)),
        Number((mean(({ seconds }) => seconds) / 60).toFixed(1)),
        Number((mean(({ parameters }) => parameters) / 1e6).toFixed(3)),
        ...columns.map((column) => Number(summarise(own, column, { resamplings: 1 }).mean.toFixed(4))),
        row === defaultRow || !sharesSeed(own, defaults)
          ? ''
          : text(summarise(own, { set: first, measure: 'teacher' }, { less: defaults })),
      ],
    ];
  });
  return {
    title: `${Math.round(ratio * 100)} % of the channels removed`,
    columns: [
      ...['way', 'seeds', 'steps', 'minutes', 'encoder, M'],
      ...columns.map(({ set, measure }) => `${set}: ${headings[measure]}`),
      `${first}: IoU with the teacher's, less ${defaultRow}'s`,
    ],
    rows,
    note: 'Means over seeds and images; the last column with the 95 % interval of resampled seeds and images, paired.',
  };
}

const signed = (value: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;

const text = ({ mean, low, high }: Interval): string => `${signed(mean)} (${signed(low)} to ${signed(high)})`;

/** Each way's agreement with the teacher less the default's, or as it is where the default is not among them. */
function plotOf(cells: readonly CellResult[], { ratio, set }: { ratio: number; set: string }): ReportIntervals {
  const defaults = of(cells, defaultRow, ratio);
  const compared = defaults.length > 0;
  const names = rowNames(cells).filter((name) => !compared || name !== defaultRow);
  return {
    title: `Agreement with the teacher on ${set}, ${Math.round(ratio * 100)} %`,
    ...(compared ? { x: `IoU less that of ${defaultRow}`, line: 0 } : { x: 'IoU' }),
    rows: names.flatMap((name) => {
      const own = of(cells, name, ratio);
      if (compared ? !sharesSeed(own, defaults) : own.length === 0) return [];
      return [{ name, ...summarise(own, { set, measure: 'teacher' }, compared ? { less: defaults } : {}) }];
    }),
  };
}
