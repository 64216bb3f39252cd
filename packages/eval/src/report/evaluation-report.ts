import { checkFields } from '@slimsam/weights';
import { evaluateCoco } from '../coco/evaluate-coco.ts';
import type { RgbImage } from '../image.ts';
import { decodeRle } from '../masks/rle.ts';
import { type Comparison, compareResults } from '../protocols/compare-results.ts';
import type { ImageRecord, ResultRecord } from '../protocols/records.ts';
import type { ResultsFolder } from '../protocols/results-folder.ts';
import { cocoInputs } from '../protocols/summary.ts';
import type { ReportOverlay, ReportPlot, ReportTable } from './report.ts';
import { writeReport } from './write-report.ts';

export interface EvaluationReport {
  /** Made where missing. */
  readonly folder: string;
  readonly title: string;
  readonly summary?: string;
  /** Runs of one protocol; the first is what the others are compared with. */
  readonly runs: readonly ResultsFolder[];
  /** Milliseconds of a model's encoder by its name, for speed against quality. */
  readonly latency?: ReadonlyMap<string, number>;
  /** An image's pixels, for the best and worst masks; without it they are left out. */
  readonly pixels?: (record: ImageRecord) => Promise<RgbImage>;
  /** Best and worst masks of each run; 4 each unless given. */
  readonly masks?: number;
  readonly signal?: AbortSignal;
}

/**
 * Writes a report of runs of one protocol: tables, a comparison paired by mask, histogram of IoU, IoU after each click, precision against
 * recall, speed against quality, best and worst masks.
 *
 * @returns the path of the page
 * @throws when there is no run, the runs are of several protocols, or as writeReport
 */
export async function writeEvaluationReport(options: EvaluationReport): Promise<string> {
  checkFields('writeEvaluationReport', options, { folder: 'string', title: 'string', runs: 'list' });
  const { folder, title, runs, latency, signal } = options;
  const protocols = [...new Set(runs.map(({ config }) => config.protocol))];
  if (protocols.length !== 1) {
    throw new Error(`writeEvaluationReport: expected runs of one protocol, got ${protocols.join(', ') || 'none'}`);
  }
  const measured = runs.filter(({ summary }) => summary.miou !== undefined);
  const comparisons = measured.slice(1).map((run) => compareResults(measured[0]!, run));
  const tables = [
    resultTable(runs),
    ...sizeTable(measured),
    ...apTables(runs),
    ...edgeTable(runs),
    ...comparisonTable(comparisons),
    runTable(runs),
  ];
  const plots = [
    ...clickPlot(measured),
    ...histogram(measured),
    ...precisionRecallPlot(runs),
    ...speedPlot(measured, latency),
  ];
  const summary =
    options.summary ?? `Protocol: ${protocols[0]}. ${runs[0]!.summary.images} images, ${runs[0]!.summary.masks} masks.`;
  const { page } = await writeReport({
    ...{ folder, title, summary, tables, plots },
    overlays: options.pixels ? await overlays(measured, options.pixels, options.masks ?? 4) : [],
    ...(signal && { signal }),
  });
  return page;
}

const nameOf = ({ config }: ResultsFolder): string => config.model.name;

function resultTable(runs: readonly ResultsFolder[]): ReportTable {
  const clicks = Math.max(...runs.map(({ summary }) => summary.click_miou?.length ?? 0));
  const columns: [string, (run: ResultsFolder) => string | number | undefined][] = [
    ['model', nameOf],
    ['images', ({ summary }) => summary.images],
    ['masks', ({ summary }) => summary.masks],
    ['mIoU', ({ summary }) => summary.miou],
    ['over masks', ({ summary }) => summary.miou_over_masks],
    ['boundary IoU', ({ summary }) => summary.boundary_iou],
    ['best mask’s mIoU', ({ summary }) => summary.best_miou],
    ...Array.from({ length: clicks }, (_, i): [string, (run: ResultsFolder) => number | undefined] => [
      `${i + 1} ${i === 0 ? 'click' : 'clicks'}`,
      ({ summary }) => summary.click_miou?.[i],
    ]),
  ];
  const used = columns.filter(([, value]) => runs.some((run) => value(run) !== undefined));
  return {
    title: 'Results',
    columns: used.map(([name]) => name),
    rows: runs.map((run) => used.map(([, value]) => value(run) ?? '–')),
    note: 'mIoU: the mean within each image, then over images.',
  };
}

function sizeTable(runs: readonly ResultsFolder[]): ReportTable[] {
  if (runs.length === 0) return [];
  const sizes = Object.keys(runs[0]!.summary.miou_by_size ?? {});
  const cell = (value: number | undefined) => (value === undefined || value < 0 ? '–' : value);
  return [
    {
      title: 'Mean IoU by the size of the object',
      columns: ['model', ...sizes],
      rows: runs.map((run) => [nameOf(run), ...sizes.map((size) => cell(run.summary.miou_by_size?.[size]))]),
      note: 'Over masks; small: up to 32 x 32 pixels, large: from 96 x 96 on.',
    },
  ];
}

/** Average precision, with COCO's boundary AP, and average recall. */
function apTables(runs: readonly ResultsFolder[]): ReportTable[] {
  const rated = runs.filter(({ summary }) => summary.stats);
  const names = Object.keys(rated[0]?.summary.stats ?? {});
  return [
    { title: 'Average precision', names: names.filter((name) => name.startsWith('AP')), boundary: true },
    { title: 'Average recall', names: names.filter((name) => name.startsWith('AR')), boundary: false },
  ]
    .filter(() => rated.length > 0)
    .map(({ title, names: columns, boundary }) => ({
      title,
      columns: ['model', ...columns, ...(boundary ? ['boundary AP'] : [])],
      rows: rated.map(({ config, summary }) => [
        config.model.name,
        ...columns.map((name) => summary.stats![name]!),
        ...(boundary ? [summary.boundary_ap ?? '–'] : []),
      ]),
    }));
}

/** BSDS500's numbers. */
function edgeTable(runs: readonly ResultsFolder[]): ReportTable[] {
  const rows = runs.flatMap(({ config, summary: { edges } }) =>
    edges
      ? [[config.model.name, ...['ods', 'ois', 'ap', 'r50', 'ods_threshold'].map((name) => edges[name] ?? '–')]]
      : [],
  );
  const columns = ['model', 'ODS', 'OIS', 'AP', 'R50', 'threshold of ODS'];
  return rows.length > 0 ? [{ title: 'Edges', columns, rows }] : [];
}

function comparisonTable(comparisons: readonly Comparison[]): ReportTable[] {
  if (comparisons.length === 0) return [];
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
  return [
    {
      title: 'Compared mask by mask',
      columns: ['model', 'against', 'masks', 'difference of mIoU', '95 % interval', 'better masks'],
      rows: comparisons.map(({ first, second, masks, difference, interval, better }) => [
        ...[second, first, masks, signed(difference)],
        ...[`${signed(interval[0])} to ${signed(interval[1])}`, `${(100 * better).toFixed(1)} %`],
      ]),
      note: 'Intervals are from 10,000 resamplings of whole images. Better masks: of those that differ.',
    },
  ];
}

function runTable(runs: readonly ResultsFolder[]): ReportTable {
  const short = (hash: string | undefined) => hash?.slice(0, 16) ?? '–';
  return {
    title: 'What was run',
    columns: ['model', 'protocol', 'weights', 'data', 'prompts', 'left out', 'bad records'],
    rows: runs.map(({ config, summary }) => [
      ...[
        config.model.name,
        [
          config.protocol,
          ...Object.values(config.options)
            .map(String)
            .map((text) => text.slice(0, 16)),
        ].join(' '),
      ],
      ...[short(config.model.weights), short(config.done?.data), short(config.done?.prompts)],
      ...[summary.left_out, summary.bad],
    ]),
    note: 'The first 16 digits of SHA-256.',
  };
}

const iousOf = ({ records }: ResultsFolder): number[] =>
  records.flatMap(({ results }) => results.flatMap(({ iou }) => (iou === undefined ? [] : [iou])));

function histogram(runs: readonly ResultsFolder[]): ReportPlot[] {
  if (runs.length === 0) return [];
  const curves = runs.map((run) => {
    const counts = new Array<number>(10).fill(0);
    const ious = iousOf(run);
    for (const iou of ious) counts[Math.min(9, Math.floor(iou * 10))]!++;
    return { name: nameOf(run), points: counts.map((count, i) => [i / 10, count / ious.length] as const) };
  });
  return [{ title: 'Histogram of IoU', x: 'IoU from', y: 'share of masks', marks: 'bars', curves }];
}

function clickPlot(runs: readonly ResultsFolder[]): ReportPlot[] {
  const clicked = runs.filter(({ summary }) => (summary.click_miou?.length ?? 0) > 1);
  if (clicked.length === 0) return [];
  const curves = clicked.map((run) => ({
    name: nameOf(run),
    points: run.summary.click_miou!.map((iou, i) => [i + 1, iou] as const),
  }));
  return [{ title: 'mIoU after each click', x: 'clicks', y: 'mIoU', curves }];
}

function precisionRecallPlot(runs: readonly ResultsFolder[]): ReportPlot[] {
  const rated = runs.filter(({ summary, config }) => summary.stats && config.options.rules !== 'lvis');
  if (rated.length === 0) return [];
  const curves = rated.map((run) => {
    const { precision, recalls, thresholds } = evaluateCoco(cocoInputs(run.records, run.config.categories));
    const [, R, K, A, M] = precision.shape as [number, number, number, number, number];
    const t = thresholds.indexOf(0.75);
    const points = [...recalls].map((recall, r) => {
      const values = Array.from(
        { length: K },
        (_, k) => precision.data[(((t * R + r) * K + k) * A + 0) * M + M - 1]!,
      ).filter((value) => value > -1);
      return [recall, values.reduce((sum, value) => sum + value, 0) / values.length] as const;
    });
    return {
      name: nameOf(run),
      points,
    };
  });
  return [{ title: 'Precision against recall, IoU 0.75', x: 'recall', y: 'precision', curves }];
}

function speedPlot(runs: readonly ResultsFolder[], latency: ReadonlyMap<string, number> | undefined): ReportPlot[] {
  const curves = runs.flatMap((run) => {
    const time = latency?.get(nameOf(run));
    return time === undefined ? [] : [{ name: nameOf(run), points: [[time, run.summary.miou!] as const] }];
  });
  return curves.length === 0
    ? []
    : [{ title: 'Speed against quality', x: 'encoder, ms', y: 'mIoU', marks: 'points', curves }];
}

/** Best and worst masks of each run beside the truth. */
async function overlays(
  runs: readonly ResultsFolder[],
  pixels: NonNullable<EvaluationReport['pixels']>,
  count: number,
): Promise<ReportOverlay[]> {
  const all: ReportOverlay[] = [];
  for (const run of runs) {
    const found = run.records.flatMap((record) =>
      record.results.flatMap((result) => (result.iou === undefined ? [] : [{ record, result }])),
    );
    const sorted = [...found].sort((a, b) => b.result.iou! - a.result.iou!);
    const parts = { Best: sorted.slice(0, count), Worst: sorted.slice(-count).reverse() };
    for (const [kind, list] of Object.entries(parts)) {
      for (const [i, { record, result }] of list.entries()) {
        all.push(await overlay(`${kind} mask ${i + 1} of ${nameOf(run)}`, { record, result, pixels }));
      }
    }
  }
  return all;
}

async function overlay(
  title: string,
  {
    record,
    result,
    pixels,
  }: { record: ImageRecord; result: ResultRecord; pixels: NonNullable<EvaluationReport['pixels']> },
): Promise<ReportOverlay> {
  const truth = record.truths.find(({ id }) => id === result.annotation_id)!;
  return {
    title: `${title}: ${record.name}`,
    image: await pixels(record),
    masks: [
      { label: `annotation ${truth.id}`, mask: decodeRle(truth.segmentation) },
      { label: `IoU ${result.iou!.toFixed(3)}`, mask: decodeRle(result.segmentation) },
    ],
  };
}
