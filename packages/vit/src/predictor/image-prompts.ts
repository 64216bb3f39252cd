import type * as tf from '@tensorflow/tfjs-core';
import { gridSize, type SamConfig } from '../sam/config.ts';
import type { ImageEmbedding } from './image-embedding.ts';

/**
 * Prompts about an image, in its pixels: one of them, or N of them when the arrays are one level deeper. Each is any mix of points, a box
 * and a mask, and has as many points as it likes.
 */
export interface ImagePrompts {
  /** [P, 2] or [N, P, 2], x and y; P may differ from prompt to prompt, and be 0 where there is a box or a mask */
  readonly points?: readonly (readonly number[])[] | readonly (readonly (readonly number[])[])[];
  /** [P] or [N, P]: 1 inside, 0 outside, -1 padding, 2 and 3 first and second corner of a box; all 1 unless given */
  readonly labels?: readonly number[] | readonly (readonly number[])[];
  /** [4] or [N, 4], x0 y0 x1 y1; null for a prompt without a box */
  readonly boxes?: readonly number[] | readonly (readonly number[] | null)[];
  /** [N, 1, 4h, 4w], low resolution logits of an earlier prediction */
  readonly maskInput?: tf.Tensor;
}

/** One prompt, checked, in pixels of the image. */
export interface Prompt {
  /** Its place among the image's prompts. */
  readonly index: number;
  /** [P, 2] */
  readonly points: readonly (readonly number[])[];
  /** [P] */
  readonly labels: readonly number[];
  /** [4] */
  readonly box: readonly number[] | undefined;
  /** The image's `maskInput`, of which the prompt has the mask at `index`. */
  readonly mask: tf.Tensor | undefined;
}

/** Options of `predict`, which stand beside the prompts. */
const optionNames: readonly string[] = ['multimask', 'logits', 'memoryLimit', 'signal'];

/** How far outside of the image a point or a box may be, pixels: detections and annotations are rounded. */
const slack = 1;

/**
 * Checks prompts and lists them one by one.
 *
 * @throws when there are none, one is empty or of no known kind, counts or ranks disagree, a number is not finite, a point or a box lies more than a pixel
 * outside of the image, a box's corners are swapped, a label is not one of -1..3, or `maskInput` has another size
 */
export function listPrompts(
  { points, labels, boxes, maskInput, ...unknown }: ImagePrompts,
  image: ImageEmbedding,
  config: SamConfig,
): Prompt[] {
  const [name] = Object.keys(unknown);
  if (name) {
    const cure = optionNames.includes(name) ? 'give it among the options, the last argument' : 'leave it out';
    throw error('points, labels, boxes or maskInput', `'${name}'`, cure);
  }
  const allPoints = points && listOf(points, isPoints, 'points [P, 2] or [N, P, 2]');
  const allLabels = labels && listOf(labels, isNumbers, 'labels [P] or [N, P]');
  const allBoxes = boxes && listOf(boxes, isBox, 'boxes [4] or [N, 4]');
  if (allLabels && !allPoints) throw error('points with labels', 'labels alone', 'give the points they are of');
  if (maskInput) checkMask(maskInput, config);
  const counts = Object.entries({
    points: allPoints?.length,
    labels: allLabels?.length,
    boxes: allBoxes?.length,
    maskInput: maskInput?.shape[0],
  }).filter(([, count]) => count !== undefined);
  const N = counts[0]?.[1] ?? 0;
  if (counts.every(([, count]) => count === 0)) {
    throw error('points, boxes or masks', 'none of them', 'give at least one prompt');
  }
  if (counts.some(([, count]) => count !== N)) {
    const words = counts.map(([name, count]) => `${count} (${name})`).join(', ');
    throw error('as many prompts in each', words, 'a prompt without points has [], one without a box null');
  }
  return Array.from({ length: N }, (_, index) => {
    const prompt = { points: allPoints?.[index] ?? [], box: allBoxes?.[index] ?? undefined, mask: maskInput };
    if (prompt.points.length === 0 && !prompt.box && !prompt.mask) {
      throw error(`a point, a box or a mask in prompt ${index}`, 'none of them', 'leave the prompt out');
    }
    const own = allLabels?.[index] ?? prompt.points.map(() => 1);
    checkPoints(prompt.points, own, { index, size: image.originalSize });
    if (prompt.box) checkBox(prompt.box, { index, size: image.originalSize });
    return { ...prompt, index, labels: own };
  });
}

const isNumbers = (value: unknown): value is readonly number[] =>
  Array.isArray(value) && value.every((entry) => typeof entry === 'number');

const isBox = (value: unknown): value is readonly number[] | null => value === null || isNumbers(value);

const isPoints = (value: unknown): value is readonly (readonly number[])[] =>
  Array.isArray(value) && value.every((point) => isNumbers(point) && point.length > 0);

/** One entry for each prompt, from that or from a lone entry. */
function listOf<T>(values: unknown, isEntry: (value: unknown) => value is T, expected: string): readonly T[] {
  if (!Array.isArray(values)) throw error(expected, typeof values, 'give arrays of numbers');
  if (values.length > 0 && isEntry(values)) return [values];
  if (values.every(isEntry)) return values;
  throw error(expected, 'other or unequal depths', 'nest numbers in arrays like that');
}

interface Place {
  readonly index: number;
  /** [height, width] of the image */
  readonly size: readonly [number, number];
}

function checkPoints(
  points: Prompt['points'],
  labels: readonly number[],
  { index, size: [height, width] }: Place,
): void {
  if (labels.length !== points.length) {
    const got = `${points.length} points and ${labels.length} labels in prompt ${index}`;
    throw error('a label for each point', got, 'leave labels out if all points are inside');
  }
  points.forEach((point, i) => {
    const label = labels[i]!;
    const name = `point ${i} of prompt ${index}`;
    if (![-1, 0, 1, 2, 3].includes(label)) {
      throw error(`-1, 0, 1, 2 or 3 as the label of ${name}`, String(label), '1 is inside and 0 outside');
    }
    if (point.length !== 2 || !point.every(Number.isFinite)) {
      throw error(`finite x and y for ${name}`, `[${point.join(', ')}]`, 'points are in pixels of the image');
    }
    // padding is nowhere
    if (label !== -1 && !isWithin(point, [width, height])) {
      const cure = 'points are x and y in pixels of the image, not of the resized one and not in [0, 1]';
      throw error(`${name} in the image of ${width} x ${height} pixels`, `[${point.join(', ')}]`, cure);
    }
  });
}

function checkBox(box: readonly number[], { index, size: [height, width] }: Place): void {
  const got = `[${box.join(', ')}]`;
  if (box.length !== 4 || !box.every(Number.isFinite)) {
    throw error(`boxes [4] or [N, 4] of finite x0 y0 x1 y1`, `${got} in prompt ${index}`, 'give two corners');
  }
  const [x0, y0, x1, y1] = box as [number, number, number, number];
  if (x1 < x0 || y1 < y0) {
    const cure = 'it looks like x y width height: give [x, y, x + width, y + height]';
    throw error(`box ${index} as x0 y0 x1 y1 with x0 <= x1 and y0 <= y1`, got, cure);
  }
  if (!isWithin([x0, y0], [width, height]) || !isWithin([x1, y1], [width, height])) {
    throw error(`box ${index} in the image of ${width} x ${height} pixels`, got, 'clip it to the image');
  }
}

const isWithin = (point: readonly number[], size: readonly number[]): boolean =>
  point.every((value, axis) => value >= -slack && value <= size[axis]! + slack);

function checkMask(mask: tf.Tensor, config: SamConfig): void {
  const side = 4 * gridSize(config);
  if (mask.rank === 4 && mask.shape.slice(1).join() === `1,${side},${side}`) return;
  const cure = 'it is one mask of lowRes of an earlier prediction, not one in the size of the image';
  throw error(`maskInput [N, 1, ${side}, ${side}]`, `[${mask.shape.join(', ')}]`, cure);
}

function error(expected: string, got: string, cure: string): Error {
  return new Error(`predict: expected ${expected}, got ${got}; ${cure}`);
}
