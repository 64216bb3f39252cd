import path from 'node:path';
import { checkFields, makeFolder, writeFileAtomic } from '@slimsam/weights';
import { overlayPicture, overlayTiles, type Tile } from './overlay.ts';
import { page } from './page.ts';
import { plotForPage, plotPicture } from './plot.ts';
import { rasterise } from './raster.ts';
import type { Report } from './report.ts';
import { tablePicture } from './table.ts';
import { markdown, slug } from './text.ts';

/**
 * Writes `report.html`, a page with everything in it, and each table, plot and overlay as PNG and SVG beside it (`table-1-….png`,
 * `plot-1-….png`, `overlay-1-….png`), and the tables as `report.md`. The page is written last.
 *
 * @returns the paths of the page and the PNGs
 * @throws when a table's row has not one cell a column, a mask has not the size of its image, a file cannot be written, or the signal aborts
 */
export async function writeReport(
  report: Report & { /** Made where missing. */ readonly folder: string; readonly signal?: AbortSignal },
): Promise<{ page: string; pictures: string[] }> {
  checkFields('writeReport', report, { folder: 'string' });
  const { folder, signal, tables = [], plots = [], overlays = [] } = report;
  check(report);
  await makeFolder(folder);
  const pictures: string[] = [];
  const write = async (name: string, { svg, scale }: { svg: string; scale: number }) => {
    const file = path.join(folder, `${name}.png`);
    await writeFileAtomic(path.join(folder, `${name}.svg`), svg);
    await writeFileAtomic(file, await rasterise(svg, { scale }));
    pictures.push(file);
  };
  for (const [index, table] of tables.entries()) {
    await write(`table-${index + 1}-${slug(table.title ?? 'table')}`, { svg: tablePicture(table), scale: 2 });
  }
  const drawnPlots: string[] = [];
  for (const [index, plot] of plots.entries()) {
    signal?.throwIfAborted();
    drawnPlots.push(await plotForPage(plot));
    await write(`plot-${index + 1}-${slug(plot.title)}`, { svg: await plotPicture(plot), scale: 2 });
  }
  const drawnOverlays: Tile[][] = [];
  for (const [index, overlay] of overlays.entries()) {
    signal?.throwIfAborted();
    const tiles = await overlayTiles(overlay);
    drawnOverlays.push(tiles);
    await write(`overlay-${index + 1}-${slug(overlay.title)}`, { svg: overlayPicture(overlay.title, tiles), scale: 1 });
  }
  await writeFileAtomic(path.join(folder, 'report.md'), markdown(report));
  const file = path.join(folder, 'report.html');
  await writeFileAtomic(file, page(report, { plots: drawnPlots, overlays: drawnOverlays }));
  return { page: file, pictures };
}

function check({ tables = [], overlays = [] }: Report): void {
  for (const { title = 'table', columns, rows } of tables) {
    rows.forEach((row, i) => {
      if (row.length === columns.length) return;
      throw new Error(`writeReport: '${title}', row ${i}: expected ${columns.length} cells, got ${row.length}`);
    });
  }
  for (const { title, image, masks } of overlays) {
    for (const { label, mask } of masks) {
      if (mask.length === image.width * image.height) continue;
      const wanted = `${image.height} x ${image.width} = ${image.width * image.height} pixels`;
      throw new Error(`writeReport: '${title}', mask '${label}': expected ${wanted}, got ${mask.length}`);
    }
  }
}
