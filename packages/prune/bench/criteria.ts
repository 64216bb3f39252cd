/**
 * Every criterion on the small teacher, pruned and not trained: the embedding's error and mIoU with one point on synthetic scenes.
 * Goes on from `--results`; prints a Markdown table.
 */
import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { maskLoss } from '@slimsam/distill';
import { maskIou } from '@slimsam/eval';
import { generateScene, type Scene } from '@slimsam/scenes';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import {
  createPredictor,
  decodeMasks,
  encodeImage,
  encodePrompts,
  encoderAxes,
  encoderTapAxes,
  loadSam,
  preprocess,
} from '@slimsam/vit';
import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import {
  type AccumulationMode,
  accumulateActivations,
  accumulateGradients,
  activationImportance,
  type CriterionName,
  disturbedLoss,
  type Gradients,
  importance,
  type Normalise,
  noise,
  plan,
  prune,
  type Scores,
} from '../src/index.ts';

const { values: options } = parseArgs({
  options: {
    results: { type: 'string', default: 'out/criteria.jsonl' },
    photographs: { type: 'string', default: '16' },
    scenes: { type: 'string', default: '8' },
    seeds: { type: 'string', default: '3' },
  },
});
const ratios = [0.3, 0.5, 0.65];
const halves = ['embedding', 'bottleneck'] as const;

interface Result {
  readonly key: string;
  readonly error: number;
  readonly miou: number;
}

const backend = await useWebgpu();
const { weights, config } = await loadSam(fileURLToPath(new URL('../../../examples/teacher/', import.meta.url)));
const axes = encoderAxes(weights, config);
const encoder = Object.fromEntries(Object.entries(weights).filter(([name]) => name.startsWith('image_encoder.')));
const side = config.imageSize;
const depth = 6;
const dimensionsOf = (half: (typeof halves)[number]) =>
  half === 'embedding'
    ? ['embed']
    : ['head', 'mlp'].flatMap((kind) => Array.from({ length: depth }, (_, i) => `blocks.${i}.${kind}`));
const scenesFrom = (start: number, count: number): Scene[] =>
  Array.from({ length: count }, (_, i) => generateScene(start + i, { width: side, height: side }));
const pixelsOf = ({ image }: Scene) => preprocess(image, config).pixels;

const tests = scenesFrom(7_900_000, Number(options.scenes));
const truth = await Promise.all(
  tests.map(async (scene) => {
    const embedding = tf.tidy(() => encodeImage(weights, config, pixelsOf(scene)).embedding);
    const values = await embedding.data<'float32'>();
    embedding.dispose();
    return values;
  }),
);

/** Relative squared error of the embedding, and mIoU with one point. */
async function evaluate(student: Weights): Promise<{ error: number; miou: number }> {
  const predictor = createPredictor(student, config);
  let [error, norm, miou] = [0, 0, 0];
  for (const [i, { image, annotations }] of tests.entries()) {
    const embedded = predictor.embed(image);
    const values = await embedded.embedding.data<'float32'>();
    truth[i]!.forEach((value, at) => {
      error += (value - values[at]!) ** 2;
      norm += value ** 2;
    });
    const points = annotations.map(({ point }) => [point]);
    const { masks, lowRes } = await predictor.predict(embedded, { points }, { multimask: false });
    miou += annotations.reduce((sum, { mask }, k) => sum + maskIou(mask, masks[k]![0]!), 0) / annotations.length;
    tf.dispose([embedded.embedding, lowRes]);
  }
  return { error: error / norm, miou: miou / tests.length };
}

/** SAM's training loss of one scene, with a point in each object. */
function labelledLoss(trained: Weights, { annotations, ...scene }: Scene): tf.Scalar {
  const all = { ...weights, ...trained };
  const { embedding } = encodeImage(all, config, pixelsOf({ annotations, ...scene }));
  const [, C, h, w] = embedding.shape;
  const N = annotations.length;
  const points = tf.tensor3d(annotations.map(({ point }) => [[...point]]));
  const { sparse, dense } = encodePrompts(all, config, { points, labels: tf.ones([N, 1]) });
  const tiled = tf.add(embedding, tf.zeros([N, C, h, w])) as tf.Tensor4D;
  const { masks, scores } = decodeMasks(all, config, { embedding: tiled, sparse, dense, multimask: true });
  const cell = side / masks.shape[2]!;
  const pixels = tf.stack(
    annotations.map(({ mask }) => tf.tensor(Float32Array.from(mask), [side / cell, cell, side / cell, cell])),
  );
  return maskLoss({ logits: masks, scores, targets: tf.mean(pixels, [2, 4]) as tf.Tensor3D }).total;
}

const accumulate = (photographs: Scene[], mode: AccumulationMode, seed: number): Promise<Gradients> =>
  accumulateGradients({
    weights: encoder,
    batches: photographs,
    mode,
    loss: (trained, scene, { index }) => {
      const { embedding } = encodeImage(trained, config, pixelsOf(scene));
      return disturbedLoss(embedding, noise(embedding.shape, { seed: seed * 1000 + index }));
    },
  });

const isMatrix = (name: string, shape: readonly number[]) => name.endsWith('.weight') && shape.length >= 2;

interface Row {
  readonly name: string;
  readonly normalise?: Normalise;
  readonly scores: (dimensions: readonly string[]) => Promise<Scores>;
  /** Whether another seed gives other scores. */
  readonly seeded?: boolean;
}

/** All criteria with the photographs and noise of one seed; gradients are made when they are asked for. */
function rowsOf(seed: number): { rows: Row[]; dispose: () => void } {
  const photographs = scenesFrom(7_000_000 + seed * 1000, Number(options.photographs));
  const made = new Map<string, Promise<Gradients>>();
  const once = (name: string, make: () => Promise<Gradients>) => {
    const found = made.get(name) ?? make();
    made.set(name, found);
    return found;
  };
  const disturbed = (mode: AccumulationMode) => once(mode, () => accumulate(photographs, mode, seed));
  const labelled = (mode: AccumulationMode) => () =>
    once(`labelled ${mode}`, () =>
      accumulateGradients({ weights: encoder, batches: photographs, mode, loss: labelledLoss }),
    );
  const by =
    (criterion: CriterionName, gradients?: () => Promise<Gradients>, more: object = {}) =>
    async (dimensions: readonly string[]) =>
      importance({
        criterion,
        weights: encoder,
        axes,
        dimensions,
        seed,
        ...(gradients && { gradients: await gradients() }),
        ...more,
      });
  const taps = encoderTapAxes(weights, config);
  const activations = (by: 'mean' | 'variance') => async (dimensions: readonly string[]) =>
    activationImportance({
      activations: await accumulateActivations({
        weights: encoder,
        axes,
        tapAxes: taps,
        batches: photographs,
        taps: (scene: Scene) => encodeImage(weights, config, pixelsOf(scene), { taps: Object.keys(taps) }).taps,
      }),
      dimensions,
      by,
    });
  const squared = () => disturbed('squared');
  const rows: Row[] = [
    { name: 'random', scores: by('random'), seeded: true },
    { name: 'magnitude (L2)', scores: by('magnitude') },
    { name: 'magnitude (L1)', scores: by('magnitude-l1') },
    { name: 'activations, mean of \\|a\\|', scores: activations('mean'), seeded: true },
    { name: 'activations, variance', scores: activations('variance'), seeded: true },
    { name: 'Taylor, labelled, absolute', scores: by('taylor', labelled('absolute')), seeded: true },
    {
      name: 'disturbed Taylor, signed (the paper’s code)',
      scores: by('taylor', () => disturbed('signed')),
      seeded: true,
    },
    { name: 'disturbed Taylor, absolute', scores: by('taylor', () => disturbed('absolute')), seeded: true },
    { name: 'disturbed Taylor, squared', scores: by('taylor', squared), seeded: true },
    { name: 'the same, with biases, norms and tables', scores: by('taylor', squared, { scored: 'all' }), seeded: true },
    ...(['mean', 'gaussian-rank'] as const).map((normalise) => ({
      name: `the same, normalised by ${normalise}`,
      normalise,
      scores: by('taylor', squared),
      seeded: true,
    })),
    {
      name: 'the same, heads scored by proj alone',
      scores: by('taylor', squared, {
        scored: (name: string, shape: readonly number[]) => isMatrix(name, shape) && !/\.attn\.qkv\./.test(name),
      }),
      seeded: true,
    },
    { name: 'Hessian (optimal brain damage)', scores: by('hessian', squared), seeded: true },
    {
      name: 'Hessian, labelled (empirical Fisher)',
      scores: by('hessian', labelled('squared')),
      seeded: true,
    },
  ];
  return {
    rows,
    dispose: () => {
      for (const gradients of made.values()) void gradients.then(({ sums }) => disposeWeights(sums));
    },
  };
}

const evaluated = new Map<string, { error: number; miou: number }>();
await mkdir(dirname(options.results), { recursive: true });
const known = new Map<string, Result>(
  (await readFile(options.results, 'utf8').catch(() => ''))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Result)
    .map((result) => [result.key, result]),
);
const settings = halves.flatMap((half) => ratios.map((ratio) => ({ half, ratio })));
const keyOf = (name: string, seed: number, { half, ratio }: (typeof settings)[number]) =>
  `${name} | ${seed} | ${half} | ${ratio}`;
const names = rowsOf(0).rows.map(({ name }) => name);
for (let seed = 0; seed < Number(options.seeds); seed++) {
  const { rows, dispose } = rowsOf(seed);
  for (const { name, scores, normalise, seeded } of rows) {
    const open = settings.filter((setting) => !known.has(keyOf(name, seed, setting)));
    if (open.length === 0 || (!seeded && seed > 0)) continue;
    const byHalf = new Map<string, Scores>();
    for (const setting of open) {
      const { half, ratio } = setting;
      const found = byHalf.get(half) ?? (await scores(dimensionsOf(half)));
      byHalf.set(half, found);
      const how =
        half === 'embedding'
          ? ({ ranking: 'local', normalise: 'mean' } as const)
          : ({ ranking: 'global', normalise: normalise ?? 'standard' } as const);
      const { keep } = await plan({
        weights,
        axes,
        importance: found,
        ratio,
        ...how,
        roundTo: { 'blocks.*.head': 8 },
      });
      const student = prune(weights, axes, keep);
      const figures = evaluated.get(JSON.stringify(keep)) ?? (await evaluate(student)); // two criteria may keep the same
      evaluated.set(JSON.stringify(keep), figures);
      const result = { key: keyOf(name, seed, setting), ...figures };
      disposeWeights(student);
      known.set(result.key, result);
      await appendFile(options.results, `${JSON.stringify(result)}\n`);
      console.error(result.key, result.error.toFixed(4), result.miou.toFixed(3));
    }
  }
  dispose();
}

const whole = await evaluate(weights);
console.log(`mIoU of the teacher: ${whole.miou.toFixed(3)}`);
const head = settings.map(({ half, ratio }) => `${half}, ${100 * ratio} %`);
console.log(`| scores | ${head.join(' | ')} |\n| --- | ${head.map(() => '---').join(' | ')} |`);
for (const name of names) {
  const cells = settings.map((setting) => {
    const found = Array.from({ length: Number(options.seeds) }, (_, seed) =>
      known.get(keyOf(name, seed, setting)),
    ).filter((r) => r !== undefined);
    const mean = (pick: (result: Result) => number) =>
      found.reduce((sum, result) => sum + pick(result), 0) / found.length;
    return `${mean(({ error }) => error).toFixed(3)} / ${mean(({ miou }) => miou).toFixed(3)}`;
  });
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
backend.dispose();
