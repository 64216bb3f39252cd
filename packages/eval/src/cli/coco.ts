import { type BadRecord, badRecordText } from '../coco/bad-record.ts';
import type { OverlapType } from '../coco/evaluate.ts';
import { type CocoFault, cocoStats, evaluateCoco } from '../coco/evaluate-coco.ts';
import { evaluateLvis, lvisStats } from '../coco/evaluate-lvis.ts';
import { readDetections, readGroundTruth } from '../coco/read-coco.ts';

export interface CocoCommand {
  readonly type: OverlapType;
  readonly classAgnostic?: boolean;
  readonly lvis?: boolean;
  readonly json?: boolean;
  readonly skipBad?: boolean;
  readonly maxDets?: readonly number[];
  readonly correct?: readonly CocoFault[];
}

/** `slimsam-eval coco`: what is printed. */
export async function coco(groundTruthFile: string, detectionsFile: string, options: CocoCommand): Promise<string> {
  const { type, classAgnostic = false, lvis = false, maxDets = [1, 10, 100], correct = [] } = options;
  if (lvis && (classAgnostic || options.maxDets || correct.length > 0)) {
    throw new Error('coco: --lvis has its own rules: expected no --class-agnostic, --max-dets or --correct beside it');
  }
  const bad: BadRecord[] = [];
  const reading = { type, ...(options.skipBad && { onBad: (record: BadRecord) => bad.push(record) }) };
  const groundTruth = await readGroundTruth(groundTruthFile, reading);
  const detections = await readDetections(detectionsFile, groundTruth, reading);
  const inputs = { groundTruth, detections, type };
  const { stats } = lvis
    ? evaluateLvis(inputs)
    : evaluateCoco({ ...inputs, classAgnostic, maxDetections: maxDets, correct });
  const names = lvis ? lvisStats : cocoStats;
  if (options.json) {
    const named = Object.fromEntries(names.map((name, i) => [name, stats[i]!]));
    return JSON.stringify({ rules: lvis ? 'lvis' : 'coco', type, classAgnostic, stats, named, skipped: bad }, null, 2);
  }
  const headline = correct.includes('headline-detections') ? maxDets.at(-1)! : 100;
  const lines = lvis ? lvisLines(stats) : cocoLines(stats, [headline, ...maxDets]);
  return [...lines, ...skippedLines(bad)].join('\n');
}

/** What was left out, if anything. */
export function skippedLines(bad: readonly BadRecord[]): string[] {
  return bad.length === 0
    ? []
    : [`skipped ${bad.length} bad records:`, ...bad.map((record) => `  ${badRecordText(record)}`)];
}

const number = (value: number) => value.toFixed(3);

/** pycocotools' lines. */
function cocoLines(stats: readonly number[], [headline, one, ten, most]: readonly number[]): string[] {
  const line = (i: number, { iou = '0.50:0.95', area = 'all', detections = most! }) => {
    const title = i < 6 ? 'Average Precision  (AP)' : 'Average Recall     (AR)';
    const at = `IoU=${iou.padEnd(9)} | area=${area.padStart(6)} | maxDets=${String(detections).padStart(3)}`;
    return ` ${title} @[ ${at} ] = ${number(stats[i]!)}`;
  };
  return [
    line(0, { detections: headline! }),
    line(1, { iou: '0.50' }),
    line(2, { iou: '0.75' }),
    ...['small', 'medium', 'large'].map((area, i) => line(3 + i, { area })),
    ...[one!, ten!, most!].map((detections, i) => line(6 + i, { detections })),
    ...['small', 'medium', 'large'].map((area, i) => line(9 + i, { area })),
  ];
}

/** The lvis package's lines. */
function lvisLines(stats: readonly number[]): string[] {
  const sizes = { s: 'small', m: 'medium', l: 'large' } as const;
  return lvisStats.map((name, i) => {
    const kind = name.startsWith('AP') ? 'Average Precision  (AP)' : 'Average Recall     (AR)';
    const suffix = name.slice(2, 3);
    const iou = name === 'AP50' ? '0.50' : name === 'AP75' ? '0.75' : '0.50:0.95';
    const area = suffix in sizes ? sizes[suffix as keyof typeof sizes] : 'all';
    const group = ['r', 'c', 'f'].includes(suffix) ? suffix : 'all';
    const at = `IoU=${iou.padEnd(9)} | area=${area.padStart(6)} | maxDets=300 catIds=${group.padStart(3)}`;
    return ` ${kind} @[ ${at}] = ${number(stats[i]!)}`;
  });
}
