import { writeReport } from '@slimsam/eval/report';
import type { FinishedCell } from './sweep-cells.ts';

const rounded = (value: number | undefined, digits: number): number | string =>
  value === undefined ? '' : Number(value.toFixed(digits));

/** Writes a row for each finished cell, and the relative error over the share of channels removed. @throws as `writeReport` does */
export async function writeSweepReport(
  folder: string,
  { cells, summary }: { readonly cells: readonly FinishedCell[]; readonly summary: string },
): Promise<{ page: string }> {
  const recipes = [...new Set(cells.map(({ recipe }) => recipe))];
  const aligned = cells.filter(({ relative }) => relative !== undefined);
  const { page } = await writeReport({
    ...{ folder, title: 'A sweep of compressions', summary },
    tables: [
      {
        title: 'Cells',
        columns: ['recipe', 'ratio', 'seed', 'encoder, M', 'MACs, G', 'relative error', 'cosine', 'adapter'],
        rows: cells.map(({ recipe, ratio, seed, parameters, macs, relative, cosine, adapter }) => [
          ...[recipe, ratio, seed],
          ...[rounded(parameters && parameters / 1e6, 3), rounded(macs && macs / 1e9, 3)],
          ...[rounded(relative, 4), rounded(cosine, 4), adapter],
        ]),
        note: "Of the features on photographs that were held back, next to the original's.",
      },
    ],
    plots:
      aligned.length === 0
        ? []
        : [
            {
              title: 'Relative error of the features',
              ...{ x: 'share of the channels removed', y: 'relative error', marks: 'points' as const },
              curves: recipes.map((name) => ({
                name,
                points: aligned.flatMap(({ recipe, ratio, relative }) =>
                  recipe === name ? [[ratio, relative!] as const] : [],
                ),
              })),
            },
          ],
  });
  return { page };
}
