import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createPredictor, type ImageEmbedding, type ImagePrompts } from '../src/index.ts';
import { readTiny, tinyConfig } from './support.ts';

/** Wrong prompts are refused by their values alone, before any kernel runs. */
let predictor: ReturnType<typeof createPredictor>;
let image: ImageEmbedding;
beforeAll(async () => {
  await tf.setBackend('cpu');
  const { weights } = await readTiny();
  predictor = createPredictor(weights, tinyConfig);
});
beforeEach(() => {
  image = { embedding: tf.zeros([1, 32, 8, 8]), originalSize: [90, 117], inputSize: [98, 128] };
});

const mask = (shape: number[]) => tf.zeros(shape);

const wrong: [string, () => ImagePrompts, string][] = [
  ['nothing', () => ({}), 'expected points, boxes or masks, got none of them'],
  [
    'a prompt of no known kind',
    () => ({ points: [[1, 2]], box: [1, 2, 3, 4] }) as never,
    "or maskInput, got 'box'; leave it out",
  ],
  ['no points', () => ({ points: [] }), 'expected points, boxes or masks, got none of them'],
  ['an empty prompt', () => ({ points: [[[1, 2]], []] }), 'in prompt 1, got none of them; leave the prompt out'],
  [
    'no point and no box',
    () => ({ points: [[], [[1, 2]]], boxes: [null, [1, 2, 3, 4]] }),
    'in prompt 0, got none of them',
  ],
  ['labels alone', () => ({ labels: [1] }), 'expected points with labels'],
  [
    'fewer labels',
    () => ({ points: [[1, 2]], labels: [1, 0] }),
    'got 1 points and 2 labels in prompt 0; leave labels out',
  ],
  [
    'a label of 4',
    () => ({ points: [[1, 2]], labels: [4] }),
    '-1, 0, 1, 2 or 3 as the label of point 0 of prompt 0, got 4',
  ],
  ['a label of 0.5', () => ({ points: [[[1, 2]], [[3, 4]]], labels: [[1], [0.5]] }), 'point 0 of prompt 1, got 0.5'],
  ['NaN', () => ({ points: [[1, Number.NaN]] }), 'expected finite x and y for point 0 of prompt 0, got [1, NaN]'],
  [
    'three coordinates',
    () => ({ points: [[1, 2, 3]] }),
    'expected finite x and y for point 0 of prompt 0, got [1, 2, 3]',
  ],
  ['a point alone', () => ({ points: [1, 2] as never }), 'expected points [P, 2] or [N, P, 2]'],
  ['points too deep', () => ({ points: [[[[1, 2]]]] as never }), 'expected points [P, 2] or [N, P, 2]'],
  ['points of unequal depth', () => ({ points: [[1, 2], [[1, 2]]] as never }), 'unequal depths; nest numbers'],
  ['points as a tensor', () => ({ points: tf.zeros([1, 2]) as never }), 'got object; give arrays of numbers'],
  [
    'a point outside',
    () => ({
      points: [
        [[1, 2]],
        [
          [3, 4],
          [50, 92],
        ],
      ],
    }),
    'point 1 of prompt 1 in the image of 117 x 90 pixels, got [50, 92]',
  ],
  ['a point left of it', () => ({ points: [[-2, 4]] }), 'in the image of 117 x 90 pixels, got [-2, 4]'],
  [
    'x y width height',
    () => ({ boxes: [60, 20, 30, 40] }),
    'got [60, 20, 30, 40]; it looks like x y width height: give [x, y, x + width, y + height]',
  ],
  [
    'y1 < y0',
    () => ({
      boxes: [
        [1, 2, 3, 4],
        [6, 20, 30, 4],
      ],
    }),
    'box 1 as x0 y0 x1 y1',
  ],
  [
    'a box outside',
    () => ({ boxes: [1, 2, 119, 40] }),
    'box 0 in the image of 117 x 90 pixels, got [1, 2, 119, 40]; clip it',
  ],
  ['a box of three', () => ({ boxes: [1, 2, 3] }), 'boxes [4] or [N, 4] of finite x0 y0 x1 y1, got [1, 2, 3]'],
  ['a box with infinity', () => ({ boxes: [1, 2, Number.POSITIVE_INFINITY, 4] }), 'of finite x0 y0 x1 y1'],
  [
    'boxes too deep',
    () => ({ boxes: [[[1, 2, 3, 4]]] as never }),
    'expected boxes [4] or [N, 4], got other or unequal depths',
  ],
  [
    'another number of boxes',
    () => ({
      points: [[1, 2]],
      boxes: [
        [1, 2, 3, 4],
        [1, 2, 3, 4],
      ],
    }),
    'got 1 (points), 2 (boxes)',
  ],
  [
    'a mask of another size',
    () => ({ maskInput: mask([1, 1, 90, 117]) }),
    'maskInput [N, 1, 32, 32], got [1, 1, 90, 117]; it is one mask of lowRes',
  ],
  ['three masks at once', () => ({ maskInput: mask([1, 3, 32, 32]) }), 'maskInput [N, 1, 32, 32], got [1, 3, 32, 32]'],
  [
    'another number of masks',
    () => ({ points: [[1, 2]], maskInput: mask([2, 1, 32, 32]) }),
    'got 1 (points), 2 (maskInput)',
  ],
  ['no masks', () => ({ maskInput: mask([0, 1, 32, 32]) }), 'got none of them'],
];

describe('wrong prompts are refused before any kernel runs', () => {
  it.each(wrong)('%s', async (_, makePrompts, message) => {
    const prompts = makePrompts();
    const before = tf.memory().numTensors;
    const kernels = vi.spyOn(tf.engine(), 'runKernel');
    await expect(predictor.predict(image, prompts)).rejects.toThrow(message);
    const fine = { image, points: [[1, 2]] };
    await expect(predictor.predictBatch([fine, { image, ...prompts }])).rejects.toThrow(
      'predictBatch: request 1: predict:',
    );
    expect(kernels).not.toHaveBeenCalled();
    kernels.mockRestore();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('of a model or image that they are not for', async () => {
    const kernels = vi.spyOn(tf.engine(), 'runKernel');
    const predict = (other: Partial<ImageEmbedding>) => predictor.predict({ ...image, ...other }, { points: [[1, 2]] });
    for (const shape of [
      [1, 16, 8, 8],
      [1, 32, 4, 8],
      [2, 32, 8, 8],
    ] as const) {
      const embedding = tf.zeros<tf.Rank.R4>([...shape]);
      await expect(predict({ embedding })).rejects.toThrow(
        `expected an embedding [1, 32, 8, 8], got [${shape.join(', ')}]`,
      );
      embedding.dispose();
    }
    const swapped = 'expected inputSize [98, 128] for an image of [90, 117], got [128, 98]; sizes are [height, width]';
    await expect(predict({ inputSize: [128, 98] })).rejects.toThrow(swapped);
    await expect(predictor.predict(image, { points: [[1, 2]] }, { memoryLimit: 0 })).rejects.toThrow(
      'memoryLimit above 0 bytes, got 0',
    );
    expect(kernels).not.toHaveBeenCalled();
    kernels.mockRestore();
  });
});
