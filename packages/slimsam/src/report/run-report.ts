import path from 'node:path';
import { decodeRle, maskIou, readSa1b } from '@slimsam/eval';
import { type ReportOverlay, type ReportPlot, writeReport } from '@slimsam/eval/report';
import { createPredictor, decodeImage, type RgbImage, type Sam } from '@slimsam/vit';
import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Evaluation } from '../evaluate/evaluate-sam.ts';
import type { Photographs } from '../photographs/photographs.ts';
import type { Metric } from '../run/metrics.ts';
import { readMetrics } from '../run/read-metrics.ts';
import { evaluationRows } from './evaluation-rows.ts';

/** What the report of a run shows. */
export interface RunReport {
  readonly title: string;
  /** Paragraphs. */
  readonly summary: string;
  /** The run folder. */
  readonly run: string;
  /** SAMs whose masks are drawn; none unless given. */
  readonly models?: Readonly<Record<string, Sam>>;
  readonly evaluations?: Readonly<Record<string, Evaluation>> | undefined;
  /** Where masks are drawn: at the largest object of labelled images in SA-1B's format, else at the centre of photographs. */
  readonly labelled?: string | undefined;
  readonly photographs?: Photographs;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes `report.html` with the validation curve by epoch (the paper's figure 3), losses, a table of the models and their masks, and a PNG
 * of each.
 *
 * @returns the paths
 * @throws as `writeReport` does
 */
export async function writeRunReport(folder: string, report: RunReport): Promise<{ page: string; pictures: string[] }> {
  checkFields('writeRunReport', { folder }, { folder: 'string' });
  checkFields('writeRunReport', report, { title: 'string', summary: 'string', run: 'string' });
  const { title, summary, models = {}, evaluations, labelled, photographs, signal } = report;
  const metrics = await readMetrics(path.join(report.run, 'metrics.jsonl'));
  return writeReport({
    ...{ folder, title, summary },
    ...(signal && { signal }),
    tables: [
      ...(evaluations ? [{ title: 'Costs and quality', ...evaluationRows(evaluations) }] : []),
      { title: 'On photographs that were held back', ...validationTable(metrics) },
      ...agreementTables(metrics),
    ],
    plots: plotsOf(metrics),
    overlays:
      labelled !== undefined
        ? await labelledOverlays(labelled, models, signal)
        : photographs
          ? await centreOverlays(photographs, models)
          : [],
  });
}

type Validation = Extract<Metric, { type: 'validation' }>;

function validationTable(metrics: readonly Metric[]): { columns: string[]; rows: (string | number)[][] } {
  const names = new Map<string, Validation[]>();
  for (const metric of metrics) {
    if (metric.type === 'validation') names.set(metric.name, [...(names.get(metric.name) ?? []), metric]);
  }
  return {
    columns: ['step', 'relative error before', 'after', 'cosine before', 'after'],
    rows: [...names].map(([name, list]) => {
      const best = list.filter(({ best }) => best).at(-1) ?? list[0]!;
      return [name, list[0]!.relative, best.relative, list[0]!.cosine, best.cosine];
    }),
  };
}

/** What training by prompts came to, apart from the paper's recipe. */
function agreementTables(
  metrics: readonly Metric[],
): { title: string; columns: string[]; rows: (string | number)[][] }[] {
  const found = metrics.filter(
    (metric) => metric.type === 'validation' && metric.agreement !== undefined,
  ) as Validation[];
  if (found.length === 0) return [];
  const best = found.filter(({ best }) => best).at(-1) ?? found[0]!;
  return [
    {
      title: "By prompts, beyond the paper's recipe: mean IoU with the original's masks",
      columns: ['step', 'before', 'after'],
      rows: [[best.name, found[0]!.agreement!, best.agreement!]],
    },
  ];
}

/** The validation by epoch over all stages (the paper's figure 3), and the loss of each stage. */
function plotsOf(metrics: readonly Metric[]): ReportPlot[] {
  const validations = metrics.filter((metric) => metric.type === 'validation');
  const aligned = [...new Set(validations.map(({ name }) => name))];
  const measured = validations.some(({ measure }) => measure !== undefined);
  let epochs = 0;
  const curves = aligned.map((name) => {
    const own = validations.filter((event) => event.name === name);
    const start = epochs;
    epochs += Math.max(...own.map(({ epoch }) => epoch));
    return {
      name,
      points: own.map((event) => [start + event.epoch, measured ? event.measure! : event.relative] as const),
    };
  });
  const losses = aligned.map((name) => ({
    ...{ title: `Loss: ${name}`, x: 'step', y: 'loss (its terms change between epochs)', logarithmic: true },
    curves: [
      {
        name: 'loss',
        points: metrics.flatMap((event) =>
          event.type === 'step' && event.name === name ? [[event.step, event.loss] as const] : [],
        ),
      },
    ],
  }));
  const y = measured ? 'measured, higher is better' : 'relative error of the features';
  return curves.length === 0 ? [] : [{ title: 'Validation by epoch', x: 'epoch', y, curves }, ...losses];
}

/** The masks of each model and the truth at the largest object of four images. */
async function labelledOverlays(
  folder: string,
  models: Readonly<Record<string, Sam>>,
  signal: AbortSignal | undefined,
): Promise<ReportOverlay[]> {
  const drawn: ReportOverlay[] = [];
  for await (const { imagePath, annotations } of readSa1b(folder, signal && { signal })) {
    if (drawn.length === 4) break;
    if (annotations.length === 0) continue;
    const largest = annotations.reduce((a, b) => (b.area > a.area ? b : a));
    const point = largest.pointCoords[0]!;
    const truth = decodeRle(largest.segmentation);
    const image = await decodeImage(imagePath);
    const masks = [{ label: 'truth', mask: truth, point }];
    for (const [name, model] of Object.entries(models)) {
      const mask = await maskAt(model, image, point);
      masks.push({ label: `${name} ${maskIou(mask, truth).toFixed(2)}`, mask, point });
    }
    drawn.push({ title: `Masks ${drawn.length + 1}`, image, masks });
  }
  return drawn;
}

/** Masks of each model at the centre of four photographs. */
async function centreOverlays(
  photographs: Photographs,
  models: Readonly<Record<string, Sam>>,
): Promise<ReportOverlay[]> {
  if (Object.keys(models).length === 0) return [];
  const count = photographs.names.length;
  const indices = [...new Set([0, 1, 2, 3].map((i) => Math.floor((i * count) / 4)))];
  const drawn: ReportOverlay[] = [];
  const size = Math.min(...Object.values(models).map(({ config }) => config.imageSize));
  for await (const { name, image } of photographs.read(indices, { size, fit: 'longest' })) {
    const point = [Math.floor(image.width / 2), Math.floor(image.height / 2)] as const;
    const masks = [];
    for (const [label, model] of Object.entries(models))
      masks.push({ label, mask: await maskAt(model, image, point), point });
    drawn.push({ title: `At the centre of ${path.basename(name)}`, image, masks });
  }
  return drawn;
}

async function maskAt(
  { weights, config }: Sam,
  image: RgbImage,
  point: readonly [number, number],
): Promise<Uint8Array> {
  const predictor = createPredictor(weights, config);
  const embedded = predictor.embed(image);
  const { masks, lowRes } = await predictor.predict(embedded, { points: [[...point]] }, { multimask: false });
  tf.dispose([embedded.embedding, lowRes]);
  return masks[0]![0]!;
}
