import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import {
  createPredictor,
  type ImagePrompts,
  type Prediction,
  type PredictRequest,
  type RgbImage,
} from '../src/index.ts';
import { type Fixture, readTiny, relativeError, tensorOf, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
let tiny: Fixture;
let image: RgbImage;
beforeAll(async () => {
  tiny = await readTiny();
  image = { width: 117, height: 90, data: tiny.io.image_u8!.data as Uint8Array };
});

/** [P, 2] of the fixture as arrays. */
const pointsOf = (name: string) =>
  Array.from({ length: tiny.io[name]!.data.length / 2 }, (_, i) =>
    Array.from(tiny.io[name]!.data.slice(2 * i, 2 * i + 2)),
  );

describe('createPredictor', () => {
  it('gives the masks of segment-anything from pixels, points and boxes, and leaks nothing', async () => {
    const before = tf.memory().numTensors;
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const embedded = predictor.embed(image);
    expect(tf.memory().numTensors).toBe(before + 1);
    const points = pointsOf('points');
    const labels = Array.from(tiny.io.labels!.data);
    const box = Array.from(tiny.io.box!.data);
    const several = await predictor.predict(embedded, { points, labels });
    const single = await predictor.predict(embedded, { boxes: [box, box] }, { multimask: false });
    expect(tf.memory().numTensors).toBe(before + 3);

    const agreement = (bits: Uint8Array, logits: ArrayLike<number>) =>
      bits.reduce((sum, bit, i) => sum + Number(bit === Number(logits[i]! > 0)), 0) / bits.length;
    const pixels = 117 * 90;
    const multi = tiny.io['points.multi.masks_logits']!.data;
    expect(several.masks).toHaveLength(1);
    expect(several.masks[0]).toHaveLength(3);
    several.masks[0]!.forEach((mask, m) => {
      expect(mask).toBeInstanceOf(Uint8Array);
      expect(agreement(mask, multi.slice(m * pixels, (m + 1) * pixels))).toBeGreaterThan(0.999);
    });
    expect(single.masks.map((masks) => masks.length)).toEqual([1, 1]);
    expect(agreement(single.masks[1]![0]!, tiny.io['box.single.masks_logits']!.data)).toBeGreaterThan(0.999);
    expect(single.scores[1]![0]).toBeCloseTo(tiny.io['box.single.iou_predictions']!.data[0]!, 3);
    expect(several.scores[0]![2]).toBeCloseTo(tiny.io['points.multi.iou_predictions']!.data[2]!, 3);

    const again = await predictor.predict(embedded, { points: [points, points], maskInput: single.lowRes });
    expect(again.masks).toHaveLength(2);
    tf.dispose([embedded.embedding, several.lowRes, single.lowRes, again.lowRes]);
    expect(tf.memory().numTensors).toBe(before);
  });
});

/** What the prompts of the fixture are called there, and as the predictor takes them. */
const mixes = (): Record<string, ImagePrompts> => {
  const points = pointsOf('points');
  const labels = Array.from(tiny.io.labels!.data);
  const boxes = Array.from(tiny.io.box!.data);
  const maskInput = tensorOf(tiny, 'mask_input');
  return {
    point: { points: points.slice(0, 1), labels: labels.slice(0, 1) },
    points: { points, labels },
    box: { boxes },
    points_box: { points, labels, boxes },
    points_mask: { points, labels, maskInput },
    mask: { maskInput },
  };
};

describe('logits in the size of the image', () => {
  it.each(['point', 'points', 'box', 'points_box', 'points_mask', 'mask'])(
    'are those of segment-anything for %s',
    async (mix) => {
      const predictor = createPredictor(tiny.weights, tinyConfig);
      const embedded = predictor.embed(image);
      for (const [name, multimask] of [
        ['multi', true],
        ['single', false],
      ] as const) {
        const found = await predictor.predict(embedded, mixes()[mix]!, { multimask, logits: true });
        const { masks, stabilityScores, lowRes } = found;
        expect(await relativeError(lowRes, tiny, `${mix}.${name}.low_res_masks`)).toBeLessThan(1e-3);
        const key = `${mix}.${name}.masks_logits`;
        const M = multimask ? 3 : 1;
        const logits = tf.tensor(Float32Array.from(found.logits![0]!.flatMap((mask) => [...mask])), [1, M, 90, 117]);
        // of ten of the twelve the fixture keeps every 8th row and column
        const every8th = () => tf.stridedSlice(logits, [0, 0, 0, 0], logits.shape, [1, 1, 8, 8]);
        const [reduced, kept] = tiny.io[key] ? [logits, key] : [every8th(), `${key}_every_8th`];
        expect(await relativeError(reduced, tiny, kept)).toBeLessThan(1e-3);
        found.logits![0]!.forEach((values, m) => {
          expect(masks[0]![m]).toEqual(Uint8Array.from(values, (value) => Number(value > 0)));
          const above = (threshold: number) => values.reduce((sum, value) => sum + Number(value > threshold), 0);
          expect(stabilityScores[0]![m]).toBe(above(1) / Math.max(1, above(-1)));
        });
        tf.dispose([lowRes, logits, reduced]);
      }
      embedded.embedding.dispose();
    },
  );
});

it('the best mask alone is that of the highest score among the three', async () => {
  const predictor = createPredictor(tiny.weights, tinyConfig);
  const embedded = predictor.embed(image);
  const points = pointsOf('points').map((point) => [point]);
  const before = tf.memory().numTensors;
  const three = await predictor.predict(embedded, { points });
  const one = await predictor.predict(embedded, { points }, { best: true });
  expect(one.lowRes.shape).toEqual([points.length, 1, ...three.lowRes.shape.slice(2)]);
  three.scores.forEach((scores, n) => {
    const best = scores.indexOf(Math.max(...scores));
    expect(one.scores[n]).toEqual([scores[best]]);
    expect(one.masks[n]).toEqual([three.masks[n]![best]]);
    expect(one.stabilityScores[n]).toEqual([three.stabilityScores[n]![best]]);
  });
  three.dispose();
  one.dispose();
  expect(tf.memory().numTensors).toBe(before);
  embedded.dispose();
});

/** Scores and low resolution logits agree to rounding, and masks in all pixels that are not at the threshold. */
async function expectClose(found: Prediction, wanted: Prediction, at: { from: number; to: number }): Promise<void> {
  const range = (values: ArrayLike<number>) => Math.max(...Array.from(values, Math.abs));
  const a = await found.lowRes.data();
  const b = await wanted.lowRes.data();
  const per = a.length / found.masks.length;
  const difference = b.map((value, i) => value - a[at.from * per + i]!);
  expect(range(difference)).toBeLessThan(1e-5 * range(b));
  wanted.scores.forEach((scores, n) => {
    scores.forEach((score, m) => {
      expect(found.scores[at.from + n]![m]).toBeCloseTo(score, 5);
    });
    wanted.masks[n]!.forEach((mask, m) => {
      const other = found.masks[at.from + n]![m]!;
      const changed = mask.reduce((sum, bit, i) => sum + Number(bit !== other[i]), 0);
      expect(changed).toBeLessThan(5);
      expect(found.stabilityScores[at.from + n]![m]).toBeCloseTo(wanted.stabilityScores[n]![m]!, 2);
    });
  });
  expect(wanted.masks).toHaveLength(at.to - at.from);
}

describe('many prompts at once', () => {
  /** Eight prompts of six layouts. */
  const ragged = () => {
    const one = [[20, 30]];
    const two = [
      [80, 40],
      [50, 70],
    ];
    return {
      points: [one, two, [], [...one, ...two], two, [], [[100, 5]], one],
      labels: [[1], [1, 0], [], [1, 1, 0], [0, 1], [], [-1], [2]],
      boxes: [null, null, [10, 10, 60, 50], null, [40, 20, 110, 80], [0, 0, 117, 90], null, null],
    };
  };
  const nth = ({ points, labels, boxes }: ReturnType<typeof ragged>, n: number, masks?: tf.Tensor): ImagePrompts => ({
    ...{ points: [points[n]!], labels: [labels[n]!], boxes: [boxes[n]!] },
    ...(masks && { maskInput: tf.slice(masks, [n, 0, 0, 0], [1, 1, -1, -1]) }),
  });

  it.each([
    ['all in one', 2 ** 30, false],
    ['one in each chunk', 1, false],
    ['all in one, with masks', 2 ** 30, true],
    ['two in each chunk, with masks', 2 * 4 * 28 * 2048, true],
  ])('are answered as one by one: %s', async (_, memoryLimit, withMasks) => {
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const embedded = predictor.embed(image);
    const prompts = ragged();
    const maskInput = withMasks ? tf.mul(tf.randomNormal([8, 1, 32, 32], 0, 1, 'float32', 5), 8) : undefined;
    const options = { memoryLimit, multimask: false };
    const before = tf.memory().numTensors;
    const all = await predictor.predict(embedded, { ...prompts, ...(maskInput && { maskInput }) }, options);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(all.lowRes.shape).toEqual([8, 1, 32, 32]);
    for (let n = 0; n < 8; n++) {
      const alone = await predictor.predict(embedded, nth(prompts, n, maskInput), { multimask: false });
      await expectClose(all, alone, { from: n, to: n + 1 });
      alone.lowRes.dispose();
    }
    tf.dispose([embedded.embedding, all.lowRes]);
  });

  it('of several images are answered as image by image', async () => {
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const turned = { width: 90, height: 117, data: image.data.toReversed() };
    const [first, second] = [predictor.embed(image), predictor.embed(turned)];
    const masks = tf.randomNormal([2, 1, 32, 32], 0, 5, 'float32', 6);
    const requests: PredictRequest[] = [
      {
        image: first,
        points: [
          [[20, 30]],
          [
            [9, 8],
            [60, 61],
          ],
        ],
      },
      { image: second, points: [[80, 100]] },
      { image: first, boxes: [10, 10, 60, 50] },
      { image: second, points: [[[30, 30]], []], boxes: [null, [20, 15, 70, 110]] },
      { image: first, maskInput: masks },
      { image: second, maskInput: tf.neg(masks) },
    ];
    for (const memoryLimit of [2 ** 30, 3 * 4 * 28 * 2048]) {
      const before = tf.memory().numTensors;
      const together = await predictor.predictBatch(requests, { memoryLimit });
      expect(tf.memory().numTensors).toBe(before + requests.length);
      for (const [i, { image: embedded, ...prompts }] of requests.entries()) {
        const alone = await predictor.predict(embedded, prompts);
        await expectClose(together[i]!, alone, { from: 0, to: alone.masks.length });
        expect(together[i]!.masks[0]![0]).toHaveLength(90 * 117);
        alone.lowRes.dispose();
      }
      tf.dispose(together.map(({ lowRes }) => lowRes));
    }
    expect(await predictor.predictBatch([])).toEqual([]);
    tf.dispose([first.embedding, second.embedding, masks]);
  });

  it('end when the signal aborts, and leak nothing then or on a missing weight', async () => {
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const embedded = predictor.embed(image);
    const before = tf.memory().numTensors;
    const prompts = ragged();
    const memoryLimit = 1;
    const aborted = AbortSignal.abort(new Error('too late'));
    await expect(predictor.predict(embedded, prompts, { memoryLimit, signal: aborted })).rejects.toThrow('too late');

    // every chunk of prompts and of masks asks the signal once
    const { signal } = new AbortController();
    const asked = vi.spyOn(signal, 'throwIfAborted');
    (await predictor.predict(embedded, prompts, { memoryLimit, signal })).lowRes.dispose();
    expect(asked).toHaveBeenCalledTimes(8 + 24);
    for (const stop of [3, 8, 9, 20]) {
      let left = stop;
      asked.mockImplementation(() => {
        if (left-- === 0) throw new Error('enough');
      });
      await expect(predictor.predict(embedded, prompts, { memoryLimit, signal })).rejects.toThrow('enough');
    }
    for (const name of ['prompt_encoder.point_embeddings.0.weight', 'mask_decoder.iou_token.weight']) {
      const { [name]: __, ...rest } = tiny.weights;
      const broken = createPredictor(rest, tinyConfig).predict(embedded, prompts);
      await expect(broken).rejects.toThrow(`expected weight '${name}'`);
    }
    expect(tf.memory().numTensors).toBe(before);
    embedded.embedding.dispose();
    expect(tf.memory().numTensors).toBe(before - 1);
  });
});
