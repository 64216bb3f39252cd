import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { disposeWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createPredictor,
  encodeImage,
  loadSam,
  preprocess,
  type RgbImage,
  resizeSam,
  type Sam,
  saveSam,
} from '../src/index.ts';
import { imageOf, readSlimsamObject, readTiny, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
let tiny: Sam;
let image: RgbImage;
beforeAll(async () => {
  const fixture = await readTiny();
  tiny = { weights: fixture.weights, config: tinyConfig };
  image = imageOf(fixture);
});

/** Keys' cubic with a = -1/2. */
function keys(distance: number): number {
  const [x, a] = [Math.abs(distance), -0.5];
  if (x <= 1) return (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1;
  return x < 2 ? a * x ** 3 - 5 * a * x ** 2 + 8 * a * x - 4 * a : 0;
}

/** Bicubic, antialiased, from its definition: every output is the mean of all inputs, weighted by the kernel in both directions at once. */
function bicubic(values: ArrayLike<number>, { from, to, C }: { from: number; to: number; C: number }): number[] {
  const shrink = Math.max(1, from / to);
  const kernel = (input: number, output: number) => keys((input + 0.5 - ((output + 0.5) * from) / to) / shrink);
  const result: number[] = [];
  for (let y = 0; y < to; y++) {
    for (let x = 0; x < to; x++) {
      const sums = new Array<number>(C).fill(0);
      let total = 0;
      for (let v = 0; v < from; v++) {
        for (let u = 0; u < from; u++) {
          const weight = kernel(v, y) * kernel(u, x);
          total += weight;
          for (let c = 0; c < C; c++) sums[c]! += weight * values[(v * from + u) * C + c]!;
        }
      }
      result.push(...sums.map((sum) => sum / total));
    }
  }
  return result;
}

/** torch's linear interpolation of rows, align_corners=False: between the two nearest rows, clamped at the ends. */
function linear(values: ArrayLike<number>, { from, to, D }: { from: number; to: number; D: number }): number[] {
  return Array.from({ length: to }, (_, i) => {
    const at = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const low = Math.min(from - 1, Math.floor(at));
    const high = Math.min(from - 1, low + 1);
    return Array.from({ length: D }, (_, d) => {
      const [a, b] = [values[low * D + d]!, values[high * D + d]!];
      return a + (at - low) * (b - a);
    });
  }).flat();
}

async function expectNear(found: tf.Tensor, wanted: number[]): Promise<void> {
  const values = await found.data();
  expect(values).toHaveLength(wanted.length);
  const range = Math.max(...wanted.map(Math.abs));
  const worst = wanted.reduce((most, value, i) => Math.max(most, Math.abs(value - values[i]!)), 0);
  expect(worst).toBeLessThan(1e-6 * range); // sums of at most 16 products in float32, twice
}

describe.each(['sam-tiny', 'slimsam-object'])('resizeSam of %s', (name) => {
  const read = async (): Promise<Sam> => (name === 'sam-tiny' ? tiny : readSlimsamObject());

  it.each([16, 80, 112, 192, 256])('interpolates to %s pixels as float64 does', async (imageSize) => {
    const sam = await read();
    const resized = resizeSam(sam, imageSize);
    expect(resized.config).toEqual({ ...sam.config, imageSize });
    expect(Object.keys(resized.weights)).toEqual(Object.keys(sam.weights));
    const to = imageSize / sam.config.patchSize;
    for (const [key, weight] of Object.entries(sam.weights)) {
      const [found, values] = [resized.weights[key]!, await weight.data()];
      const globalTable = sam.config.globalBlocks.some((i) => key.includes(`.blocks.${i}.attn.rel_pos_`));
      if (key.endsWith('.pos_embed')) {
        const [, from, , C] = weight.shape as [number, number, number, number];
        expect(found.shape).toEqual([1, to, to, C]);
        await expectNear(found, bicubic(values, { from, to, C }));
      } else if (globalTable) {
        const [from, D] = weight.shape as [number, number];
        expect(found.shape).toEqual([2 * to - 1, D]);
        await expectNear(found, linear(values, { from, to: 2 * to - 1, D }));
      } else {
        expect(found.shape).toEqual(weight.shape);
        expect(found.dataId).toBe(weight.dataId);
      }
    }
    disposeWeights(resized.weights);
  });

  it('encodes and answers at another size, and leaks nothing', async () => {
    const sam = await read();
    const before = tf.memory().numTensors;
    for (const imageSize of [sam.config.patchSize, 5 * sam.config.patchSize, 11 * sam.config.patchSize]) {
      const resized = resizeSam(sam, imageSize);
      const predictor = createPredictor(resized.weights, resized.config);
      const embedded = predictor.embed(image);
      const side = imageSize / sam.config.patchSize;
      expect(embedded.embedding.shape.slice(2)).toEqual([side, side]);
      const { lowRes, masks, scores } = await predictor.predict(embedded, { boxes: [10, 10, 80, 60] });
      expect(lowRes.shape).toEqual([1, 3, 4 * side, 4 * side]);
      expect(masks[0]![2]).toHaveLength(117 * 90);
      expect(scores[0]!.every(Number.isFinite)).toBe(true);
      lowRes.dispose();
      embedded.embedding.dispose();
      disposeWeights(resized.weights);
    }
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('resizeSam', () => {
  it('to its own size changes nothing', async () => {
    const same = resizeSam(tiny, 128);
    for (const [key, weight] of Object.entries(tiny.weights)) expect(same.weights[key]!.dataId).toBe(weight.dataId);
    disposeWeights(same.weights);
  });

  it('keeps what a smooth image looks like: the embedding of twice the size, averaged, is near', async () => {
    // one colour everywhere, so that sizes differ in the position embedding and the borders of windows alone
    const grey = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3).fill(90) };
    const mean = async ({ weights, config }: Sam) => {
      const { embedding } = encodeImage(weights, config, preprocess(grey, config).pixels);
      return tf.mean(embedding, [2, 3]).data();
    };
    const [own, large] = [await mean(tiny), await mean(resizeSam(tiny, 256))];
    const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);
    expect(dot(own, large) / Math.sqrt(dot(own, own) * dot(large, large))).toBeGreaterThan(0.9);
  });

  it('passes gradients on to the weights that it interpolates', () => {
    const table = tiny.weights['image_encoder.blocks.1.attn.rel_pos_h']!;
    const gradient = tf.tidy(() =>
      tf.grad((x) => {
        const weights = { ...tiny.weights, 'image_encoder.blocks.1.attn.rel_pos_h': x };
        return tf.sum(resizeSam({ weights, config: tinyConfig }, 80).weights['image_encoder.blocks.1.attn.rel_pos_h']!);
      })(table),
    );
    expect(gradient.shape).toEqual(table.shape);
    gradient.dispose();
  });

  it('is saved and loaded like any other', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vit-'));
    try {
      const resized = resizeSam(tiny, 192);
      await saveSam(join(folder, 'sam.safetensors'), resized);
      const loaded = await loadSam(join(folder, 'sam.safetensors'));
      expect(loaded.config).toEqual(resized.config);
      for (const [key, weight] of Object.entries(resized.weights)) {
        expect(await loaded.weights[key]!.data()).toEqual(await weight.data());
      }
      disposeWeights(loaded.weights);
      disposeWeights(resized.weights);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it.each([100, 0, -16, 24.5, Number.NaN])('refuses a side of %s pixels', (imageSize) => {
    expect(() => resizeSam(tiny, imageSize)).toThrow(
      `resizeSam: expected imageSize to be a multiple of the patch's 16 pixels, got ${imageSize}`,
    );
  });
});

describe('images of any shape', () => {
  it.each([
    [400, 3],
    [3, 400],
    [1, 1],
    [1, 300],
    [300, 1],
    [2000, 7],
    [30_000, 40],
    [40, 30_000],
  ])('of %s x %s pixels are padded to the square and answered in their own size', async (width, height) => {
    const wide = { width, height, data: new Uint8Array(width * height * 3).map((_, i) => (i * 7) % 251) };
    const { pixels, inputSize } = preprocess(wide, tinyConfig);
    const scale = 128 / Math.max(width, height);
    expect(inputSize).toEqual([height, width].map((length) => Math.max(1, Math.floor(length * scale + 0.5))));
    const values = await pixels.data();
    const inside = (i: number) => Math.floor((i % 128 ** 2) / 128) < inputSize[0] && i % 128 < inputSize[1];
    expect(values.every((value, i) => inside(i) || value === 0)).toBe(true);
    expect(values.some((value, i) => inside(i) && value !== 0)).toBe(true);
    pixels.dispose();

    const predictor = createPredictor(tiny.weights, tinyConfig);
    const embedded = predictor.embed(wide);
    const { masks, scores, lowRes } = await predictor.predict(embedded, { points: [[width / 2, height / 2]] });
    expect(masks[0]!.map((mask) => mask.length)).toEqual([1, 1, 1].map(() => width * height));
    expect(scores[0]!.every(Number.isFinite)).toBe(true);
    tf.dispose([lowRes, embedded.embedding]);
  });

  it('but not without pixels, or with other data than their size tells', () => {
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const before = tf.memory().numTensors;
    for (const [width, height, bytes] of [
      [0, 0, 0],
      [0, 5, 0],
      [4, 5, 59],
      [Number.NaN, 5, 60],
    ] as const) {
      expect(() => predictor.embed({ width, height, data: new Uint8Array(bytes) })).toThrow(
        `embed: expected an image with data [height, width, 3 or 4], got ${width} x ${height} pixels and ${bytes} bytes`,
      );
    }
    expect(tf.memory().numTensors).toBe(before);
  });
});
