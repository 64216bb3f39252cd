/**
 * Rank stability and sensitivity of the small teacher: tables and pictures of how scores settle over photographs, seeds and noise, and of
 * what the embedding loses by each dimension. Writes a report into `--out`.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type ReportPlot, type ReportTable, writeReport } from '@slimsam/eval/report';
import { generateScene, type Scene } from '@slimsam/scenes';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { encodeImage, encoderAxes, loadSam, preprocess } from '@slimsam/vit';
import { dims, disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import {
  type AccumulationMode,
  accumulateGradients,
  agreement,
  disturbedLoss,
  type Gradients,
  importance,
  type NoiseOptions,
  noise,
  plan,
  prune,
  rankStability,
  ratiosBySensitivity,
  type Scores,
  type ScoresAt,
  type SensitivityPoint,
  sensitivity,
} from '../src/index.ts';

const { values: options } = parseArgs({
  options: { out: { type: 'string', default: 'out/study' }, photographs: { type: 'string', default: '64' } },
});
const backend = await useWebgpu();
const { weights, config } = await loadSam(fileURLToPath(new URL('../../../examples/teacher/', import.meta.url)));
const axes = encoderAxes(weights, config);
const encoder = Object.fromEntries(Object.entries(weights).filter(([name]) => name.startsWith('image_encoder.')));
const dimensions = [...dims(axes, weights).keys()].filter((name) => /^embed$|\.(head|mlp)$/.test(name));
const how = { ranking: 'local', normalise: 'mean', ratio: 0.5, roundTo: { 'blocks.*.head': 8 } } as const;

/** A set of photographs from a number on. */
const photographs = (from: number, count: number): Scene[] =>
  Array.from({ length: count }, (_, i) =>
    generateScene(7_000_000 + from + i, { width: config.imageSize, height: config.imageSize }),
  );
const embed = (table: Weights, { image }: Scene) =>
  encodeImage(table, config, preprocess(image, config).pixels).embedding;

/** Scores after 1, 2, 4, … photographs. */
async function series(
  mode: AccumulationMode,
  { from = 0, ...disturbance }: { from?: number } & NoiseOptions,
): Promise<ScoresAt[]> {
  const found: ScoresAt[] = [];
  let gradients: Gradients | undefined;
  for (let count = 1; count <= Number(options.photographs); count *= 2) {
    gradients = await accumulateGradients({
      ...{ weights: encoder, mode },
      ...(gradients && { from: gradients }),
      batches: photographs(from + (gradients?.count ?? 0), count - (gradients?.count ?? 0)),
      loss: (table, scene, { index }) => {
        const embedding = embed(table, scene);
        return disturbedLoss(
          embedding,
          noise(embedding.shape, { ...disturbance, seed: disturbance.seed * 1e6 + index }),
        );
      },
    });
    const scores = await importance({ criterion: 'taylor', weights: encoder, axes, dimensions, gradients });
    found.push({ photographs: count, scores });
  }
  disposeWeights(gradients?.sums ?? {});
  return found;
}

const tables: ReportTable[] = [];
const plots: ReportPlot[] = [];
const rows: (string | number)[][] = [];
const settling: { name: string; points: [number, number][] }[] = [];
const halves: typeof settling = [];
for (const mode of ['squared', 'absolute', 'signed'] as const) {
  const one = await series(mode, { seed: 1 });
  const others = {
    photographs: await series(mode, { seed: 1, from: 10_000 }),
    seed: await series(mode, { seed: 2 }),
    distribution: await series(mode, { seed: 2, distribution: 'laplace', sigma: 0.05 }),
  };
  const { points, stableFrom } = rankStability(one, how);
  settling.push({ name: mode, points: points.map(({ photographs, overlap }) => [Math.log2(photographs), overlap]) });
  halves.push({
    name: mode,
    points: one.map(({ photographs, scores }, i) => [
      Math.log2(photographs),
      agreement(scores, others.photographs[i]!.scores, how).spearman,
    ]),
  });
  const last = (list: readonly ScoresAt[]) => agreement(one.at(-1)!.scores, list.at(-1)!.scores, how);
  rows.push([mode, stableFrom, ...Object.values(others).flatMap((list) => [last(list).spearman, last(list).overlap])]);
  console.log(rows.at(-1)!.join('  '));
  if (mode === 'squared') await sensitivities(one.at(-1)!.scores);
}
tables.unshift({
  title: `Agreement at ${options.photographs} photographs`,
  columns: [
    ...['gradients', 'kept set within 2 % from'],
    ...['other photographs', 'other seeds', 'Laplace noise'].flatMap((name) => [`${name}: Spearman`, 'kept by both']),
  ],
  rows,
});
const x = 'photographs, as a power of two';
plots.unshift(
  { title: 'Kept set shared with that of all photographs', x, y: 'share of channels', curves: settling },
  { title: 'Spearman’s correlation of disjoint sets of photographs', x, y: 'mean over dimensions', curves: halves },
);

/** Errors by dimension and share, and what ratios of equal error give. */
async function sensitivities(scores: Scores): Promise<void> {
  const tests = photographs(900_000, 4);
  const wanted = tf.tidy(() => tests.map((scene) => embed(weights, scene)));
  const error = async (table: Weights) => {
    const relative = tf.tidy(() => {
      const differences = tests.map((scene, i) => tf.sum(tf.squaredDifference(embed(table, scene), wanted[i]!)));
      return tf.div(tf.addN(differences), tf.addN(wanted.map((embedding) => tf.sum(tf.square(embedding)))));
    });
    const [value] = await relative.data();
    relative.dispose();
    return value!;
  };
  const points: SensitivityPoint[] = [];
  const widths = { roundTo: { 'blocks.*.head': 4 } };
  for await (const point of sensitivity({ weights, axes, importance: scores, error, ...widths })) points.push(point);
  const shares = [...new Set(points.map(({ share }) => share))];
  const of = (name: string) => points.filter(({ dimension }) => dimension === name);
  const columns = ['dimension', ...shares.map((share) => `${100 * share} %`)];
  const title = 'Error of the embedding by the share removed of one dimension';
  tables.push({ title, columns, rows: dimensions.map((name) => [name, ...of(name).map((point) => point.error)]) });
  for (const [kind, pattern] of [
    ['MLPs', /(\d+)\.mlp/],
    ['heads', /(\d+)\.head/],
  ] as const) {
    const curves = dimensions.flatMap((name) => {
      const block = pattern.exec(name)?.[1];
      const points = of(name).map((point): [number, number] => [100 * point.share, point.error]);
      return block === undefined ? [] : [{ name: block, points }];
    });
    plots.push({
      title: `Error of the embedding when the ${kind} of one block (0 to 5) lose channels`,
      ...{ x: '% removed', y: 'relative squared error', logarithmic: true, curves },
    });
  }
  const importanceOf = (pattern: RegExp) =>
    Object.fromEntries(Object.entries(scores).filter(([name]) => pattern.test(name)));
  const compared: (string | number)[][] = [];
  for (const ratio of [0.3, 0.5, 0.65]) {
    const mlps = importanceOf(/mlp/);
    const sizes = Object.fromEntries(Object.entries(mlps).map(([name, { length }]) => [name, length]));
    const tries = {
      uniform: { ratio, ranking: 'local', normalise: 'mean' },
      global: { ratio, ranking: 'global', normalise: 'standard' },
      sensitivity: { ratio: ratiosBySensitivity(points, { ratio, sizes }), ranking: 'local', normalise: 'mean' },
    } as const;
    const errors: number[] = [];
    for (const ways of Object.values(tries)) {
      const { keep } = await plan({ weights, axes, importance: mlps, ...ways });
      const pruned = prune(weights, axes, keep);
      errors.push(await error(pruned));
      disposeWeights(pruned);
    }
    compared.push([`${100 * ratio} %`, ...errors]);
    console.log(compared.at(-1)!.join('  '));
  }
  const names = ['removed of the MLPs', 'one ratio', 'global ranking', 'ratios of equal error'];
  tables.push({ title: 'Error of the embedding by how ratios are shared out', columns: names, rows: compared });
  tf.dispose(wanted);
}

const { page } = await writeReport({
  folder: options.out,
  title: 'Rank stability and sensitivity',
  summary: `The small teacher, ${options.photographs} synthetic photographs, not trained.`,
  tables,
  plots,
});
console.log(page);
backend.dispose();
