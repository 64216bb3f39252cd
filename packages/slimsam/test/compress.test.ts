import { applyPlan, disturbedLoss, formatPlan, noise, parsePlan, prune } from '@slimsam/prune';
import { encodeImage, preprocess, resizeSam } from '@slimsam/vit';
import { disposeWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import {
  type AligningLoss,
  type AlignStep,
  type CompressEvent,
  type Compressed,
  type CompressOptions,
  compress,
  iterative,
  type Model,
  networkOf,
  oneShot,
  type Recipe,
  ratioFor,
  scratch,
  slimSam,
  type TeacherCache,
} from '../src/index.ts';
import { scenes, tinySam, tinyVit, valuesOf, withWebgpu } from './tiny.ts';

withWebgpu();
const photographs = scenes(10);
const small = { epochs: 2, learningRate: 1e-3, sample: 4 };

async function run<M extends Model>(
  model: M,
  options: Omit<CompressOptions<M>, 'photographs'>,
): Promise<{ result: Compressed<M>; events: CompressEvent[] }> {
  const events: CompressEvent[] = [];
  const stages = compress(model, { photographs, batch: 2, ...options });
  for (let next = await stages.next(); ; next = await stages.next()) {
    if (next.done) return { result: next.value, events };
    events.push(next.value);
  }
}

test('SlimSAM on a SAM: events, widths, origins; what aligns ends better than it began; nothing leaks', async () => {
  const sam = tinySam();
  const before = tf.memory().numTensors;
  const { result, events } = await run(sam, { recipe: slimSam({ ratio: 0.5, ...small }) });
  expect(events.flatMap((event) => (event.type === 'phase' ? [`${event.kind}: ${event.name}`] : []))).toEqual([
    'prune: prune the embedding',
    'align: align the bottleneck',
    'prune: prune the bottleneck',
    'align: align the embedding',
  ]);
  expect(events.filter(({ type }) => type === 'scored')).toHaveLength(8);
  expect(events.filter(({ type }) => type === 'step')).toHaveLength(2 * 2 * 5);
  for (const name of ['align the bottleneck', 'align the embedding']) {
    const found = events.filter((event) => event.type === 'validation').filter((event) => event.name === name);
    expect(found.map(({ epoch }) => epoch)).toEqual([0, 1, 2]);
    expect(Math.min(...found.slice(1).map(({ error }) => error))).toBeLessThan(found[0]!.error);
  }
  const stage1 = events.filter((event) => event.type === 'step').filter(({ index }) => index === 1);
  expect(Object.keys(stage1[0]!.parts)).toEqual(['embedding', 'windowQkv', 'globalQkv', 'mlpHidden']);
  expect(Object.values(stage1[0]!.parts).every((part) => part > 0)).toBe(true);
  expect(Object.keys(stage1.at(-1)!.parts)).toEqual(['embedding']);

  const { weights } = result.model;
  expect(weights['image_encoder.blocks.0.attn.qkv.weight']!.shape).toEqual([
    3 * 2 * result.plan.keep['blocks.0.head']!.length,
    8,
  ]);
  expect(result.plan.keep.embed).toHaveLength(8);
  const mlps = [0, 1].map((i) => result.plan.keep[`blocks.${i}.mlp`]!.length);
  expect(mlps[0]! + mlps[1]!).toBe(64);
  const same = prune(sam.weights, networkOf(sam).axes(sam.weights), result.plan.keep);
  for (const [name, weight] of Object.entries(same)) expect(weights[name]!.shape).toEqual(weight.shape);
  const last = events
    .filter((event) => event.type === 'validation')
    .filter(({ best }) => best)
    .at(-1)!;
  expect(result.validation!.error).toBe(last.error);

  const pixels = tf.tidy(
    () => preprocess({ width: 64, height: 64, data: new Uint8Array(64 * 64 * 3) }, sam.config).pixels,
  );
  expect(encodeImage(weights, sam.config, pixels).embedding.shape).toEqual([1, 16, 8, 8]);
  tf.disposeVariables();
  disposeWeights(same);
  disposeWeights(weights);
  pixels.dispose();
  expect(tf.memory().numTensors - before).toBeLessThanOrEqual(1); // the embedding above
  disposeWeights(sam.weights);
});

test('a plain ViT goes through the whole recipe; its features keep their width', async () => {
  const vit = tinyVit();
  const { result, events } = await run(vit, { recipe: slimSam({ ratio: 0.5, ...small, epochs: 4 }), held: 3 });
  const { weights, config } = result.model;
  expect(weights['projection.weight']!.shape).toEqual([16, 8]);
  const images = tf.zeros<tf.Rank.R4>([1, 3, 32, 32]);
  const [slim, whole] = [weights, vit.weights].map((table) =>
    networkOf({ weights: table, config }).forward(table, images, {}),
  );
  expect(slim!.embedding.shape).toEqual(whole!.embedding.shape);
  const last = events.filter((event) => event.type === 'validation').filter(({ index }) => index === 3);
  expect(result.validation!.error).toBeLessThan(last[0]!.error);
});

test('photographs vary where a step says so, and a learning rate falls to 0 along a cosine', async () => {
  const steps = async (augment?: AlignStep['augment']) => {
    const align: AlignStep = { kind: 'align', name: 'align', loss: 'output', epochs: 2, learningRate: 1e-3 };
    const prune: Recipe['steps'][0] = { kind: 'prune', name: 'prune', structure: 'bottleneck', ratio: 0.5, sample: 1 };
    const recipe: Recipe = {
      name: 'one',
      steps: [prune, { ...align, decay: 'cosine', warmup: 2, ...(augment && { augment }) }],
    };
    const { events } = await run(tinySam(), { recipe });
    return events.filter((event) => event.type === 'step');
  };
  const [plain, flipped] = [await steps(), await steps({ flip: 1 })];
  expect(flipped.map(({ loss }) => loss)).not.toEqual(plain.map(({ loss }) => loss));
  expect((await steps({ flip: 0, scale: [1, 1] })).map(({ loss }) => loss)).toEqual(plain.map(({ loss }) => loss));
  const rates = plain.map(({ learningRate }) => learningRate * 1e3);
  expect(rates.slice(0, 3)).toEqual([0.5, 1, 1]);
  expect(rates[6]).toBeCloseTo(0.5, 6); // half of the 8 steps after the warm-up
  for (let i = 3; i < rates.length; i++) expect(rates[i]).toBeLessThan(rates[i - 1]!);
  const cache: TeacherCache = { get: async () => undefined, put: async () => {} };
  const recipe = slimSam({ ratio: 0.5, ...small, augment: { flip: 0.5 } });
  await expect(run(tinySam(), { recipe, teacherCache: cache })).rejects.toThrow(
    /no teacherCache where 'align the bottleneck'.*'views'/,
  );
  await expect(run(tinySam(), { recipe: slimSam({ ratio: 0.5, augment: { flip: 2 } }) })).rejects.toThrow(
    /flips in \[0, 1\]/,
  );
});

test('photographs with two views vary for two epochs, then begin anew with embeddings of the original that were kept', async () => {
  const files = new Map<string, Uint8Array>();
  const reused: string[] = [];
  const teacherCache: TeacherCache = {
    get: async (name) => {
      if (files.has(name)) reused.push(name);
      return files.get(name);
    },
    put: async (name, bytes) => void files.set(name, bytes),
  };
  const recipe: Recipe = {
    name: 'one',
    steps: [
      { kind: 'prune', name: 'prune', structure: 'bottleneck', ratio: 0.5, sample: 1 },
      {
        ...{ kind: 'align', name: 'align', loss: 'output', epochs: 4, learningRate: 1e-3 },
        augment: { flip: 0.5, scale: [0.5, 2], views: 2 },
      },
    ],
  };
  await run(tinySam(), { recipe, teacherCache, held: 2 });
  const varied = (names: Iterable<string>) => [...names].filter((name) => name.includes('{'));
  const kept = varied(files.keys());
  expect(kept).toHaveLength(8 * 2); // two views of the photographs that train, each once
  expect(varied(reused).sort()).toEqual(kept.sort());
  expect(files.size - kept.length).toBe(2); // those held back do not vary
});

test('a SAM learns on small photographs first: positions are interpolated and learn, a last stage is at its own size', async () => {
  const sam = tinySam();
  const pixels = tf.randomNormal<tf.Rank.R4>([1, 3, 32, 32], 0, 1, 'float32', 7);
  const { forward } = networkOf(sam, { small: 32 });
  const resized = resizeSam(sam, 32);
  const expected = await encodeImage(resized.weights, resized.config, pixels).embedding.data();
  expect(await forward(sam.weights, pixels, {}).embedding.data()).toEqual(expected);
  const positions = sam.weights['image_encoder.pos_embed']!;
  const gradient = tf.grad((x) =>
    tf.sum(tf.square(forward({ ...sam.weights, 'image_encoder.pos_embed': x }, pixels, {}).embedding)),
  )(positions);
  expect(gradient.shape).toEqual([1, 8, 8, 16]);
  expect((await tf.min(tf.abs(gradient)).data())[0]).toBeGreaterThan(0);

  const kept = new Set<string>();
  const files = new Map<string, Uint8Array>();
  const teacherCache: TeacherCache = {
    get: async (name) => files.get(name),
    put: async (name, bytes) => {
      kept.add(name.replace(/\d+/, 'N'));
      files.set(name, bytes);
    },
  };
  const recipe = slimSam({
    ...{ ratio: 0.5, ...small, epochs: 1, stepsPerEpoch: 2 },
    ...{ small: 32, ownSizeEpochs: 1, reconstruct: 2 },
  });
  const { result, events } = await run(sam, { recipe, teacherCache });
  expect([...kept].sort()).toEqual(['scene N', 'scene N at 32']);
  expect(result.model.weights['image_encoder.pos_embed']!.shape).toEqual([1, 8, 8, 8]);
  expect(result.model.weights['image_encoder.blocks.1.attn.rel_pos_h']!.shape[0]).toBe(15);
  const found = events.filter((event) => event.type === 'validation').filter(({ index }) => index === 6);
  expect(found.map(({ name }) => name)).toEqual(['align at the own size', 'align at the own size']);
  expect(result.validation!.error).toBe(Math.min(...found.map(({ error }) => error)));
  await expect(run(sam, { recipe: slimSam({ ratio: 0.5, small: 36 }) })).rejects.toThrow(
    /a multiple of the patch's 8 pixels below 64 for small photographs, got 36/,
  );
  await expect(run(tinyVit(), { recipe: slimSam({ ratio: 0.5, small: 16 }) })).rejects.toThrow(/expected a SAM/);
});

/** As `samFromVit` makes them. */
function withoutPositions(): ReturnType<typeof tinySam> {
  const { config, weights } = tinySam();
  return {
    config,
    weights: Object.fromEntries(Object.entries(weights).filter(([name]) => !name.includes('.rel_pos_'))),
  };
}

test.each([
  ['with relative positions', tinySam],
  ['without them, where queries are fitted too', withoutPositions],
])('layers fitted anew after a pruning are nearer to the original: a SAM %s', async (_, make) => {
  const sam = make(); // its first block attends in windows, its second globally
  const before = tf.memory().numTensors;
  const errorOf = async (reconstruct?: number) => {
    const steps = slimSam({
      ratio: 0.5,
      ...small,
      ...{ epochs: 1, stepsPerEpoch: 1, learningRate: 1e-9 },
      ...(reconstruct && { reconstruct }),
    }).steps;
    const { result, events } = await run(sam, { recipe: { name: 'fitted', steps } });
    disposeWeights(result.model.weights);
    const first = events.filter((event) => event.type === 'validation').filter(({ epoch }) => epoch === 0);
    return { errors: first.map(({ error }) => error), events };
  };
  const plain = await errorOf();
  const fitted = await errorOf(6);
  for (const [i, error] of fitted.errors.entries()) expect(error).toBeLessThan(0.9 * plain.errors[i]!);
  expect(fitted.events.flatMap((event) => (event.type === 'phase' ? [event.name] : []))).toEqual([
    ...['prune the embedding', 'reconstruct after pruning the embedding', 'align the bottleneck'],
    ...['prune the bottleneck', 'reconstruct after pruning the bottleneck', 'align the embedding'],
  ]);
  expect(tf.memory().numTensors).toBe(before);
  disposeWeights(sam.weights);
  await expect(run(tinyVit(), { recipe: slimSam({ ratio: 0.5, reconstruct: 2 }) })).rejects.toThrow(
    /expected a SAM for 'reconstruct after pruning the embedding', got a plain ViT/,
  );
});

test('a learning rate that ruins a model gives the one that it began with', async () => {
  const vit = tinyVit();
  const steps: Recipe['steps'] = [
    { kind: 'prune', name: 'prune', structure: 'bottleneck', ratio: 0.25, sample: 2 },
    { kind: 'align', name: 'align', loss: 'output', epochs: 1, learningRate: 10 },
  ];
  const { result, events } = await run(vit, { recipe: { name: 'wild', steps } });
  const [first, after] = events.filter((event) => event.type === 'validation');
  expect(after!.error).toBeGreaterThan(first!.error);
  expect(result.validation!.error).toBe(first!.error);
  expect(Object.keys(result.model.weights)).not.toContain('projection.weight'); // the stream was not pruned
});

test('every photograph has noise of its own, whoever listens', async () => {
  const seeds: number[] = [];
  const steps: Recipe['steps'] = [
    {
      ...{ kind: 'prune', name: 'prune', structure: 'embedding', ratio: 0.5, sample: 6 },
      loss: (output, { seed }) => {
        seeds.push(seed);
        return disturbedLoss(output, noise(output.shape, { seed }));
      },
    },
  ];
  await run(tinySam(), { recipe: { name: 'noise', steps } });
  expect(new Set(seeds).size).toBe(6);
});

test('ratio 0 and no training is the same function', async () => {
  const sam = tinySam();
  const steps = slimSam({ ratio: 0, sample: 1 }).steps.filter(({ kind }) => kind === 'prune');
  const { result } = await run(sam, { recipe: { name: 'nothing', steps } });
  const [theirs, ours] = await Promise.all([sam.weights, result.model.weights].map(valuesOf));
  expect(ours).toEqual(theirs);
});

test("a user's criterion, loss and step; one-shot and scratch", async () => {
  const sam = tinySam();
  const taps: AligningLoss = {
    name: 'output and the last block',
    taps: ({ embedding }) => embedding.slice(-1),
    loss: ({ student, original }) => {
      const total = tf.losses.meanSquaredError(original.embedding, student.embedding) as tf.Scalar;
      return { total, parts: { mine: total } };
    },
  };
  const seen: string[] = [];
  const recipe: Recipe = {
    name: 'mine',
    steps: [
      {
        ...{
          kind: 'prune',
          name: 'last channels',
          structure: 'bottleneck',
          ratio: 0.5,
          ranking: 'local',
          normalise: 'none',
        },
        criterion: { needsGradients: false, channels: (count) => Array.from({ length: count }, (_, i) => count - i) },
      },
      { kind: 'align', name: 'mine', loss: taps, epochs: 1, learningRate: 1e-3 },
      {
        ...{ kind: 'custom', name: 'look' },
        async *run({ weights }) {
          seen.push(...Object.keys(weights).slice(0, 1));
          return Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, tf.clone(weight)]));
        },
      },
    ],
  };
  const { result, events } = await run(sam, { recipe });
  expect(result.plan.keep['blocks.0.mlp']).toEqual(Array.from({ length: 32 }, (_, i) => i));
  expect(events.find((event) => event.type === 'step')!.parts).toHaveProperty('mine');
  expect(seen).toHaveLength(1);

  const once = await run(sam, { recipe: oneShot({ ratio: 0.5, ...small, epochs: 1 }) });
  expect(once.result.plan.keep.embed).toHaveLength(8);
  const anew = await run(sam, { recipe: scratch({ ratio: 0.5, ...small, epochs: 1 }) });
  expect(anew.events.filter((event) => event.type === 'validation')[0]!.error).toBeGreaterThan(
    once.events.filter((event) => event.type === 'validation')[0]!.error,
  );
});

test('later rounds of iterative pruning align intermediates first, then the embedding alone', async () => {
  const sam = tinySam();
  const recipe = iterative([0.25, 0.5], { ...small, epochs: 4, stepsPerEpoch: 1 });
  const { result, events } = await run(sam, { recipe });
  expect(result.plan.keep.embed).toHaveLength(8);
  const parts = events
    .filter((event) => event.type === 'step')
    .filter(({ name }) => name === 'align the bottleneck to 0.5')
    .map((event) => Object.keys(event.parts).length);
  expect(parts).toEqual([4, 1]);
});

test('a ratio for a target, and the least where there is none', async () => {
  const sam = tinySam();
  const { ratio, parameters } = await ratioFor(sam, { parameters: 18_000 });
  expect(parameters).toBeLessThanOrEqual(18_000);
  expect((await ratioFor(sam, { parameters })).ratio).toBe(ratio);
  expect((await ratioFor(sam, { macs: 3e5 })).macs).toBeLessThanOrEqual(3e5);
  await expect(ratioFor(sam, { parameters: 100 })).rejects.toThrow(/got 100 parameters; the least is 14848/);
});

test('the last pruning comes to a target within one rounding step', async () => {
  const sam = tinySam();
  const target = { parameters: 18_000 };
  const { ratio } = await ratioFor(sam, target);
  const how = { ...small, ratio, target, criterion: 'magnitude' as const };
  const steps = slimSam(how).steps.filter(({ kind }) => kind === 'prune');
  const { result, events } = await run(sam, { recipe: { name: 'to a target', steps } });
  const sizes = Object.values(result.model.weights).reduce((sum, { size }) => sum + size, 0);
  expect(events.find((event) => event.type === 'pruned' && event.target)).toMatchObject({ target: { got: sizes } });
  const step = Math.max(8 * (2 * 2 * 8 + 1), 3 * 2 * 8 * 8 + 64); // 8 hidden channels of an MLP, or 4 of both heads
  expect(sizes).toBeLessThanOrEqual(18_000);
  expect(sizes).toBeGreaterThan(18_000 - step);
  const same = applyPlan(parsePlan(formatPlan(result.plan)), sam.weights);
  expect(await valuesOf(same)).toEqual(await valuesOf(result.model.weights));
});

describe('wrong input is one clear error before anything is done', () => {
  const recipe = slimSam({ ratio: 0.5, ...small });
  test.each<[string, () => Promise<unknown>, RegExp]>([
    [
      'no model',
      () => run({ weights: {}, config: tinySam().config }, { recipe }),
      /expected a SAM or a plain ViT as loadSam/,
    ],
    ['a batch of 0', () => run(tinySam(), { recipe, batch: 0 }), /expected batch to be 1, 2, …, got 0/],
    [
      'another size of a SAM',
      () => run(tinySam(), { recipe, size: 32 }),
      /expected the size of the SAM, 64 pixels, got 32/,
    ],
    [
      'all held back',
      () => run(tinySam(), { recipe, held: 10 }),
      /expected held to be less than the 10 photographs, got 10/,
    ],
    ['stopped', () => run(tinySam(), { recipe, signal: AbortSignal.abort(new Error('stopped')) }), /^Error: stopped$/],
  ])('%s', async (_name, start, message) => {
    const before = tf.memory().numTensors;
    const error = await start().catch((error) => String(error));
    expect(error).toMatch(message);
    expect(tf.memory().numTensors - before).toBeLessThan(200); // the model's own alone
  });
});
