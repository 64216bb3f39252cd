import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateScenes } from '@slimsam/scenes';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { initVit, loadSam, parseVitConfig, type Sam, samFromVit } from '@slimsam/vit';
import { loadWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readLabelled, streamFolder, type TrainRunOptions, trainRun, viewComposer } from '../src/node.ts';
import { composeView } from '../src/training/compose-view.ts';
import { promptLoss, promptStep } from '../src/training/prompt-step.ts';
import { randomOf } from '../src/training/random.ts';
import { isResumable } from '../src/training/train-sam.ts';

/** The whole way in small: photographs with masks, a plain ViT, views, a run that stops and goes on. */
let folder: string;
let close = () => {};
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'train-'));
  await generateScenes({ folder: join(folder, 'photographs'), count: 3, seed: 7, size: 96 });
  const backend = await useWebgpu();
  close = () => backend.dispose();
});
afterAll(async () => {
  close();
  await rm(folder, { recursive: true });
});

const side = 56;
const cells = 16;
const look = { pixelMean: [120, 120, 120], pixelStd: [60, 60, 60] } as const;
const viewOptions = { side, cells, objects: 4, pasted: 3, scenes: 0.1, ...look };
const labelled = () => readLabelled(join(folder, 'photographs'), { side });

it('reads photographs with their masks, at a whole fraction of their size', async () => {
  const [whole] = await readLabelled(join(folder, 'photographs'), { side: 60 });
  expect([whole!.width, whole!.height]).toEqual([96, 96]);
  const [half] = await readLabelled(join(folder, 'photographs'), { side: 48 });
  expect([half!.width, half!.height]).toEqual([48, 48]);
  const area = (photograph: typeof half) =>
    photograph!.objects.reduce((sum, { mask }) => sum + mask.reduce((total, inside) => total + inside, 0), 0);
  expect(area(half) * 4).toBeGreaterThan(0.9 * area(whole));
  expect(area(half) * 4).toBeLessThan(1.1 * area(whole));
  await expect(readLabelled(join(folder, 'nothing'), { side })).rejects.toThrow('readSa1b: expected a folder');
});

it('composes views whose points lie inside and outside of what the targets say', async () => {
  const sources = [{ photographs: await labelled(), share: 1 }];
  let points = 0;
  for (let seed = 0; seed < 12; seed++) {
    const view = composeView(randomOf(seed), sources, viewOptions);
    expect(view.targets.length).toBe(view.prompts.length * cells * cells);
    expect(view.pixels.every(Number.isFinite)).toBe(true);
    view.prompts.forEach(({ inside, outside, box }, k) => {
      const share = ([x, y]: readonly [number, number]) =>
        view.targets[
          (k * cells + Math.floor(((y + 0.5) * cells) / side)) * cells + Math.floor(((x + 0.5) * cells) / side)
        ]!;
      for (const point of inside) expect(share(point)).toBeGreaterThan(0);
      for (const point of outside) expect(share(point)).toBeLessThan(255);
      for (const [x, y] of inside) expect(x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3]).toBe(true);
      points += inside.length;
    });
    expect(composeView(randomOf(seed), sources, viewOptions)).toEqual(view);
  }
  expect(points).toBeGreaterThan(100);
});

it('pastes objects: views of one photograph differ, and hold objects of others', async () => {
  const photographs = await labelled();
  const alone = [{ photographs: photographs.slice(0, 1), share: 1 }];
  const count = (pasted: number) => {
    let objects = 0;
    for (let seed = 0; seed < 20; seed++)
      objects += composeView(randomOf(seed), alone, { ...viewOptions, scenes: 0, pasted, objects: 99 }).prompts.length;
    return objects;
  };
  expect(count(3)).toBeGreaterThan(count(0) + 10);
});

it('makes the same views in threads', async () => {
  const inputs = { sources: [{ photographs: await labelled(), share: 1 }], options: viewOptions, seed: 5 };
  const [here, there] = [viewComposer(inputs, { threads: 0 }), viewComposer(inputs, { threads: 1 })];
  try {
    expect(await there.compose(3, 2)).toEqual(await here.compose(3, 2));
  } finally {
    await there.close();
  }
});

it('asks mostly one point, and boxes, two points and both', () => {
  const object = { inside: [[5, 5]], outside: [[1, 1]], box: [3, 3, 9, 9] } as const;
  const layouts = new Map<string, number>();
  for (let step = 0; step < 8; step++) {
    const made = promptStep([[object], [object]], { step, seed: 1, prompts: 20, side });
    for (const { count, points, boxes } of made.groups) {
      const layout = `${points?.shape[1] ?? 0} ${boxes ? 'box' : ''}`;
      layouts.set(layout, (layouts.get(layout) ?? 0) + count / 160);
      tf.dispose([points, boxes]);
    }
    expect(made.objects.shape).toEqual([40]);
    made.objects.dispose();
  }
  expect(layouts.get('1 ')).toBeCloseTo(0.6, 1); // a step's first point of two is one of them
  expect([...layouts.keys()].sort()).toEqual(['0 box', '1 ', '1 box', '2 ']);
});

function tinySam(): Sam {
  const config = parseVitConfig({ imageSize: [56, 56], heads: 2, headWidth: 8 });
  const weights = initVit(config, { depth: 2, mlpWidth: 32, patchSize: 14, layerScale: 1 }, { seed: 1 });
  return samFromVit(
    { weights, config },
    { imageSize: side, promptWidth: 16, decoderHeads: 2, decoderMlpWidth: 32, seed: 1 },
  );
}

it('at first a box asks for all that is within it, a point for its object', async () => {
  const { weights, config } = tinySam();
  const object = { inside: [[40, 40]], outside: [[1, 1]], box: [8, 16, 23, 47] } as const;
  const asked = { step: 0, seed: 1, prompts: 3, side, boxes: 0.67 };
  const cell = side / cells;
  const embedding = tf.randomNormal<tf.Rank.R4>([1, 16, side / 14, side / 14], 0, 1, 'float32', 1);
  const lossOf = async (step: ReturnType<typeof promptStep>, targets: tf.Tensor3D): Promise<number> => {
    const { total } = promptLoss(weights, config, { embedding, step, targets, focal: {} });
    return (await total.data())[0]!;
  };
  const filling = promptStep([[object]], { ...asked, fill: 1 });
  expect(promptStep([[object]], { ...asked, fill: 0 })).toMatchObject({ filled: false });
  const [point, box] = filling.groups;
  const edges = [...(await box!.boxes!.data())];
  const within = (i: number, k: number) => {
    const at = (k: number) => (k + 0.5) * cell;
    const [x, y] = [at(k % cells), at(Math.floor(k / cells))];
    const [x0, y0, x1, y1] = edges.slice(4 * i, 4 * i + 4) as [number, number, number, number];
    return x > x0 && x < x1 && y > y0 && y < y1 ? 1 : 0;
  };
  const area = cells ** 2;
  const own = Array.from({ length: area }, (_, k) => (k < area / 2 ? 1 : 0));
  const wanted = [own, ...[0, 1].map((i) => own.map((_, k) => within(i, k)))];
  const expected = await lossOf(
    { ...filling, objects: tf.tensor1d([0, 1, 2], 'int32'), filled: false },
    tf.tensor3d(wanted.flat(), [3, cells, cells]),
  );
  expect([point!.count, box!.count]).toEqual([1, 2]);
  expect(await lossOf(filling, tf.tensor3d(own, [1, cells, cells]))).toBeCloseTo(expected, 5);
});

it('trains in a folder, stops, goes on as if it had not, and keeps the mean of the weights', async () => {
  const sam = tinySam();
  const composer = viewComposer(
    { sources: [{ photographs: await labelled(), share: 1 }], options: viewOptions, seed: 3 },
    { threads: 0 },
  );
  const options = (name: string): TrainRunOptions => ({
    ...{ stage: 'decoder', composer, steps: 10, rate: 3e-3, warmup: 2, batch: 2, prompts: 3, chunk: 4, passes: 3 },
    ...{ chunks: 2, seed: 4, folder: join(folder, name), facts: { name: 'tiny' }, adapter: 'here', every: 8 },
    cache: streamFolder(join(folder, name, 'streams'), 1),
  });
  const losses: number[] = [];
  for await (const event of trainRun(sam, options('whole'))) if (event.type === 'step') losses.push(event.loss);
  expect(losses).toHaveLength(10);
  const before = tf.memory().numTensors;
  const steps: number[] = [];
  for (const pause of [1e-9, undefined])
    for await (const event of trainRun(sam, { ...options('parts'), ...(pause && { pause }) }))
      if (event.type === 'step') steps.push(event.loss);
  expect(tf.memory().numTensors).toBe(before);
  expect(steps).toEqual(losses);
  const stopped: number[] = [];
  for (const after of [9, undefined]) {
    const stop = new AbortController();
    const run = async () => {
      for await (const event of trainRun(sam, { ...options('stopped'), signal: stop.signal })) {
        if (event.type !== 'step') continue;
        if (stopped.push(event.loss) === after) stop.abort(new Error('enough'));
      }
    };
    if (after) await expect(run()).rejects.toThrow('enough');
    else await run();
  }
  expect(tf.memory().numTensors).toBe(before);
  expect(stopped).toEqual(losses); // each step once: the one that was at work is not lost
  const at = async (name: string) => {
    const { weights } = await loadWeights(join(folder, name, 'training.safetensors'));
    return Object.fromEntries(
      await Promise.all(Object.entries(weights).map(async ([key, x]) => [key, await x.data()])),
    );
  };
  const one = await at('whole');
  expect(await at('parts')).toEqual(one);
  expect(await at('stopped')).toEqual(one);
  expect(Object.keys(one).some((name) => name.includes('.blocks.'))).toBe(false); // small: the frozen blocks are not in it
  expect(one['best:mask_decoder.iou_token.weight']).not.toEqual(one['weight:mask_decoder.iou_token.weight']);
  const { weights } = await loadSam(join(folder, 'whole', 'model.safetensors'));
  expect(Object.keys(weights).sort()).toEqual(Object.keys(sam.weights).sort());
  await expect(trainRun(sam, { ...options('whole'), facts: { name: 'other' } }).next()).rejects.toThrow(
    'trainRun: expected in',
  );
});

it('goes on exactly from a step that has a mean and whose next one has no second points yet', () => {
  expect([7, 8, 14, 15, 16, 23, 24].filter(isResumable)).toEqual([8, 14, 16, 24]);
});

it.each([
  { stage: 'masks', moves: ['mask_decoder', 'prompt_encoder'] },
  { stage: 'whole', moves: ['image_encoder.blocks', 'image_encoder.neck', 'mask_decoder', 'prompt_encoder'] },
] as const)('stage $stage', async ({ stage, moves }) => {
  const sam = tinySam();
  const composer = viewComposer(
    { sources: [{ photographs: await labelled(), share: 1 }], options: viewOptions, seed: 3 },
    { threads: 0 },
  );
  const run = trainRun(sam, {
    ...{ stage, composer, steps: 2, rate: 1e-3, warmup: 0, batch: 2, prompts: 2, chunk: 2, passes: 1 },
    ...{ seed: 4, folder: join(folder, `stage ${stage}`), facts: {}, adapter: 'here', every: 8 },
    validate: join(folder, 'photographs'),
  });
  const events = [];
  for await (const event of run) events.push(event);
  expect(events.at(-1)).toMatchObject({ type: 'checkpoint', step: 2, images: 3 });
  const { weights } = await loadWeights(join(folder, `stage ${stage}`, 'training.safetensors'));
  const moved = new Set<string>();
  for (const [name, before] of Object.entries(sam.weights)) {
    const after = weights[`weight:${name}`];
    const [part] = /^(image_encoder\.(blocks|neck)|[^.]+)/.exec(name)!;
    if (after && String(await after.data()) !== String(await before.data())) moved.add(part!);
  }
  moved.delete('image_encoder'); // patches and positions
  expect([...moved].sort()).toEqual(moves);
});
