import { decodeMasks, encodePrompts, type SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { type ObjectPrompts, promptsOf } from '../training/object-prompts.ts';
import { randomOf } from '../training/random.ts';

/** What a SAM sees as an object, and what can be asked about it. */
export interface TeacherObject {
  /** [cells * cells], 1 inside. */
  readonly mask: Uint8Array;
  readonly prompts: ObjectPrompts;
}

/** Points that are asked along each side of a photograph. */
const grid = 4;
/** Objects of a photograph at most, and the points that are drawn for each. */
const [mostObjects, points] = [8, 8];
/** In cells: what is smaller is noise. */
const leastArea = 16;
/** Of the photograph: what is larger is mostly its background, and taken where there is nothing else. */
const mostShare = 0.9;

/**
 * The objects that a SAM sees in a photograph: of the masks at a jittered grid of points the surest of each point, without repetition, with
 * points inside, outside and a box of each, in pixels of the model's input.
 *
 * @param embedding [1, C, h, w] of the photograph
 * @param options.content width and height of the photograph within the model's square
 * @returns none where it answers with empty masks
 */
export async function objectsOf(
  { weights, config }: { readonly weights: Weights; readonly config: SamConfig },
  embedding: tf.Tensor4D,
  options: { readonly content: readonly number[]; readonly seed: number },
): Promise<TeacherObject[]> {
  const [width, height] = options.content as readonly [number, number];
  const random = randomOf(options.seed);
  const asked = Array.from({ length: grid ** 2 }, (_, i) => [
    ((i % grid) + random.number(0.2, 0.8)) * (width / grid),
    (Math.floor(i / grid) + random.number(0.2, 0.8)) * (height / grid),
  ]);
  const answers = tf.tidy(() => {
    const N = asked.length;
    const labels = tf.ones<tf.Rank.R2>([N, 1]);
    const prompts = encodePrompts(weights, config, { points: tf.tensor3d(asked.flat(), [N, 1, 2]), labels });
    const tiled = tf.tile(embedding, [N, 1, 1, 1]) as tf.Tensor4D;
    const { masks, scores } = decodeMasks(weights, config, { embedding: tiled, ...prompts, multimask: true });
    return { masks, scores };
  });
  const { masks, scores } = answers;
  const [, M, cells] = masks.shape;
  const [logits, sure] = await Promise.all([masks.data(), scores.data()]).finally(() => {
    masks.dispose();
    scores.dispose();
  });
  const step = config.imageSize / cells;
  const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
  const candidates = asked.map((_, n) => {
    const own = Array.from({ length: M }, (_, m) => n * M + m);
    const best = own.reduce((a, b) => (sure[b]! > sure[a]! ? b : a));
    const mask = new Uint8Array(cells * cells);
    let area = 0;
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        const at = y * cells + x;
        mask[at] = logits[best * cells * cells + at]! > 0 ? 1 : 0;
        area += mask[at]!;
      }
    }
    return { mask, area, score: sure[best]! };
  });
  const seen = candidates.filter(({ area }) => area >= Math.min(leastArea, columns * rows));
  const things = seen.filter(({ area }) => area <= mostShare * columns * rows);
  const chosen: Uint8Array[] = [];
  for (const { mask } of (things.length > 0 ? things : seen).sort((a, b) => b.score - a.score)) {
    if (chosen.length < mostObjects && chosen.every((other) => iouOf(mask, other) < 0.7)) chosen.push(mask);
  }
  return chosen.map((mask) => ({
    mask,
    prompts: inPixels(promptsOf(random, mask, { side: cells, count: points }), step),
  }));
}

/** Prompts of cells as prompts of pixels: the cells' centres, the box around its cells. */
function inPixels({ inside, outside, box: [x0, y0, x1, y1] }: ObjectPrompts, step: number): ObjectPrompts {
  const centre = ([x, y]: readonly [number, number]) => [(x + 0.5) * step - 0.5, (y + 0.5) * step - 0.5] as const;
  return {
    inside: inside.map(centre),
    outside: outside.map(centre),
    box: [x0 * step, y0 * step, (x1 + 1) * step - 1, (y1 + 1) * step - 1],
  };
}

/** Intersection over union of two masks; 0 where both are empty. */
export function iouOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [both, either] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    both += a[i]! & b[i]!;
    either += a[i]! | b[i]!;
  }
  return either === 0 ? 0 : both / either;
}
