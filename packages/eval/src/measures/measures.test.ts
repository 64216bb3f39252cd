import { expect, test, vi } from 'vitest';
import { encodeRle } from '../masks/rle.ts';
import { measureLatencies, measureLatency } from './latency.ts';
import { type MeanIouImage, meanIou } from './mean-iou.ts';

const size = { width: 4, height: 1 };

function image(imagePath: string, masks: number[][]): MeanIouImage {
  const annotations = masks.map((mask, id) => ({
    id,
    bbox: [0, 0, 4, 1] as const,
    area: 1,
    pointCoords: [[mask.indexOf(1), 0] as const],
    segmentation: encodeRle(Uint8Array.from(mask), size),
    predictedIou: 1,
    stabilityScore: 1,
    cropBox: [0, 0, 4, 1] as const,
  }));
  return { imagePath, ...size, annotations };
}

const images = [
  image('a', [
    [1, 1, 0, 0],
    [0, 0, 0, 1],
  ]),
  image('b', [[1, 1, 1, 1]]),
  image('none', []),
];

test('the mean within each image, then over images; one call an image', async () => {
  const calls: unknown[] = [];
  const seen: string[] = [];
  const result = await meanIou({
    images,
    predict: async (imagePath, points) => {
      calls.push([imagePath, points]);
      return points.map(() => new Uint8Array([1, 0, 0, 1]));
    },
    onImage: ({ imagePath }) => seen.push(imagePath),
  });
  expect(calls).toEqual([
    [
      'a',
      [
        [0, 0],
        [3, 0],
      ],
    ],
    ['b', [[0, 0]]],
  ]);
  expect(seen).toEqual(['a', 'b']);
  expect(result.perImage.map(({ ious }) => ious)).toEqual([[1 / 3, 1 / 2], [1 / 2]]);
  expect(result.miou).toBeCloseTo((5 / 12 + 1 / 2) / 2, 12);
});

test('wrong predictions, no images and a signal end in errors', async () => {
  const predict = async () => [new Uint8Array(4)];
  await expect(meanIou({ images, predict })).rejects.toThrow("expected 2 masks of 'a', got 1");
  await expect(meanIou({ images: [images[1]!], predict: async () => [new Uint8Array(3)] })).rejects.toThrow(
    "expected masks of 1 x 4 pixels of 'b', got 3 pixels",
  );
  await expect(meanIou({ images: [], predict })).rejects.toThrow('expected images with annotations, got none');
  await expect(meanIou({ images, predict, signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
});

test('latency: the median of the repeats after the warm-up', async () => {
  const durations = [60, 1, 30, 2, 1, 3];
  let runs = 0;
  let time = 1000;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => time);
  const run = async () => {
    await Promise.resolve();
    time += durations[runs++]!;
  };
  const latency = await measureLatency(run, { warmup: 1, repeats: 5 });
  clock.mockRestore();
  expect(latency).toEqual({ median: 2, p95: 30, least: 1, most: 30, samples: [1, 30, 2, 1, 3] });
  expect(runs).toBe(6);
  await expect(measureLatency(async () => {}, { repeats: 0 })).rejects.toThrow('at least 1, got 0');
  await expect(measureLatency(async () => {}, { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow(
    'stop',
  );
});

test('latencies of several models are taken in turns', async () => {
  const order: string[] = [];
  const run = (name: string) => async () => order.push(name);
  const runs = new Map([
    ['a', run('a')],
    ['b', run('b')],
  ]);
  const found = await measureLatencies(runs, { warmup: 1, repeats: 20 });
  expect(order.join('')).toBe('ab'.repeat(21));
  for (const { samples, p95, most, median } of found.values()) {
    const sorted = [...samples].sort((a, b) => a - b);
    expect(p95).toBe(sorted[18]);
    expect(median).toBeLessThanOrEqual(p95);
    expect(p95).toBeLessThanOrEqual(most);
  }
});
