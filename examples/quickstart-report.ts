import { decodeRle, maskIou, readSa1b } from '@slimsam/eval';
import { type ReportOverlay, writeReport } from '@slimsam/eval/report';
import { decodeImage, type SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import Table from 'cli-table3';
import { type Evaluation, masksAt } from './evaluate.ts';

/** Prints the table and writes report.html with curves, table and mask overlays, and PNGs of them. */
export async function report(inputs: {
  folder: string;
  testFolder: string;
  config: SamConfig;
  models: Readonly<Record<string, Weights>>;
  results: Readonly<Record<string, Evaluation>>;
  curves: readonly (readonly [number, number])[][];
  adapter: string;
  signal: AbortSignal;
}): Promise<void> {
  const { folder, config, models, results, curves, adapter, signal } = inputs;
  const columns = ['model', 'encoder parameters', 'MACs, M', 'with attention, M', 'mIoU, one point', 'latency, ms'];
  const rows = Object.entries(results).map(([name, r]) => [
    name,
    r.params,
    r.macs / 1e6,
    r.macsWithAttention / 1e6,
    r.miou,
    r.latencyMs,
  ]);
  const table = new Table({ head: columns });
  table.push(
    ...rows.map((row) => row.map((cell) => (typeof cell === 'number' ? Number(cell.toFixed(cell < 1 ? 4 : 1)) : cell))),
  );
  console.log(table.toString());
  const overlays: ReportOverlay[] = [];
  for await (const { imagePath, annotations } of readSa1b(inputs.testFolder, { signal })) {
    if (overlays.length === 4) break;
    const largest = annotations.reduce((a, b) => (b.area > a.area ? b : a));
    const point = largest.pointCoords[0] as [number, number];
    const truth = decodeRle(largest.segmentation);
    const masks = [{ label: 'truth', mask: truth, point }];
    for (const [name, weights] of Object.entries(models)) {
      const [mask] = await masksAt(weights, config, { imagePath, points: [point] });
      masks.push({ label: `${name} ${maskIou(mask!, truth).toFixed(2)}`, mask: mask!, point });
    }
    overlays.push({ title: `Masks ${overlays.length + 1}`, image: await decodeImage(imagePath), masks });
  }
  const { page } = await writeReport({
    folder,
    signal,
    title: 'SlimSAM quickstart',
    summary: `A small SAM compressed by pruning and distillation, on ${adapter}. mIoU is on scenes that no model was trained on.`,
    tables: [{ title: 'Costs and quality', columns, rows }],
    plots: curves.map((points, i) => ({
      title: i === 0 ? 'Stage 1: bottleneck aligning' : 'Stage 2: embedding aligning',
      x: 'step',
      y: 'loss (its terms change between epochs)',
      logarithmic: true,
      curves: [{ name: 'loss', points }],
    })),
    overlays,
  });
  console.log(`report: ${page}`);
}
