import { type FocalOptions, type LossParts, maskLoss } from '@slimsam/distill';
import { decodeMasks, encodePrompts, type Masks, type SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { ObjectPrompts } from './object-prompts.ts';
import { type Random, randomOf } from './random.ts';

/** Prompts of one layout, as many for each of the B images: `count` of the first image, then of the next. */
type PromptGroup = {
  count: number;
  /** [B * count, 1 or 2, 2] */ points?: tf.Tensor3D;
  /** [B * count, 1 or 2] */ labels?: tf.Tensor2D;
  /** [B * count, 4] */ boxes?: tf.Tensor2D;
  /** [B * count, 1, 4h, 4w], logits */ masks?: tf.Tensor4D;
};

/** What a step asks: groups of prompts with as many tokens each, and where in `targets` the object of each prompt is. */
export type PromptStep = {
  groups: PromptGroup[];
  /** [prompts], int32 */ objects: tf.Tensor1D;
  /** Three masks, of which the best counts. */ multimask: boolean;
  /** Whether a second point follows, where the answer to the first is wrong. */ refined: boolean;
  /** Whether a box alone asks for all that is within it. */ filled: boolean;
};

/** What eight steps ask in turn: of all prompts 60 % are one point. */
const cycle = ['single', 'three', 'single', 'two', 'single', 'three', 'single', 'refined'] as const;
/** Of the prompts of a `single` step; the rest are points. */
const boxShare = 0.55;

/** Whether step number `step` asks a second point after the answer to the first. */
export const isRefined = (step: number): boolean => cycle[step % cycle.length] === 'refined';

interface Ask {
  readonly points: 0 | 1 | 2;
  readonly box: boolean;
  readonly count: number;
}

/**
 * Draws the prompts of a step: a pure function of seed and step.
 *
 * @param views the prompts of each image's objects, in the order of their targets
 */
export function promptStep(
  views: readonly (readonly ObjectPrompts[])[],
  options: {
    readonly step: number;
    readonly seed: number;
    readonly prompts: number;
    readonly side: number;
    /** Boxes among the prompts of every other step; 0.55 unless given, so that 60 % of all are one point. */
    readonly boxes?: number | undefined;
    /** First steps in which a box alone asks for all that is within it; none unless given. */
    readonly fill?: number | undefined;
  },
): PromptStep {
  const { step, seed, prompts, side, boxes = boxShare, fill = 0 } = options;
  const random = randomOf(seed, step, 1);
  const kind = cycle[step % cycle.length]!;
  const some = Math.max(1, Math.round(prompts * (kind === 'single' ? 1 - boxes : 0.5)));
  const point: Ask = { points: 1, box: false, count: prompts };
  const asks: Ask[] =
    kind === 'single'
      ? [
          { ...point, count: some },
          { points: 0, box: true, count: prompts - some },
        ]
      : kind === 'two'
        ? [
            { points: 2, box: false, count: some },
            { points: 1, box: true, count: prompts - some },
          ]
        : [point];
  const objects: number[] = [];
  const groups = asks.filter(({ count }) => count > 0).map((ask) => drawGroup(random, views, { ask, side, objects }));
  return {
    groups,
    objects: tf.tensor1d(objects, 'int32'),
    multimask: kind === 'three',
    refined: kind === 'refined',
    filled: step < fill,
  };
}

function drawGroup(
  random: Random,
  views: readonly (readonly ObjectPrompts[])[],
  { ask, side, objects }: { ask: Ask; side: number; objects: number[] },
): PromptGroup {
  const points: number[] = [];
  const labels: number[] = [];
  const boxes: number[] = [];
  let first = 0;
  for (const view of views) {
    const start = random.integer(0, view.length - 1);
    for (let i = 0; i < ask.count; i++) {
      const index = (start + i) % view.length;
      const object = view[index]!;
      objects.push(first + index);
      if (ask.points > 0) {
        points.push(...random.pick(object.inside));
        labels.push(1);
      }
      if (ask.points > 1) {
        const inside = object.outside.length === 0 || random.chance(0.5);
        points.push(...random.pick(inside ? object.inside : object.outside));
        labels.push(inside ? 1 : 0);
      }
      if (ask.box) boxes.push(...jittered(random, object.box, side));
    }
    first += view.length;
  }
  const N = views.length * ask.count;
  return {
    count: ask.count,
    ...(ask.points > 0 && {
      points: tf.tensor3d(points, [N, ask.points, 2]),
      labels: tf.tensor2d(labels, [N, ask.points]),
    }),
    ...(ask.box && { boxes: tf.tensor2d(boxes, [N, 4]) }),
  };
}

/** Moves every edge of a box by up to a twentieth of its side, as a person or a detector would. */
function jittered(random: Random, [x0, y0, x1, y1]: ObjectPrompts['box'], side: number): number[] {
  const moved = (value: number, length: number) =>
    Math.min(side, Math.max(0, value + random.number(-0.05, 0.05) * length));
  const [w, h] = [x1 - x0 + 1, y1 - y0 + 1];
  return [moved(x0, w), moved(y0, h), moved(x1 + 1, w), moved(y1 + 1, h)];
}

/** The masks of all groups' prompts, group after group. */
export function decodeGroups(
  weights: Weights,
  config: SamConfig,
  { embedding, groups, multimask }: { embedding: tf.Tensor4D; groups: readonly PromptGroup[]; multimask: boolean },
): Masks {
  const [B, C, h, w] = embedding.shape;
  const parts = groups.map((group) => {
    const flat = tf.reshape(embedding, [B, 1, C * h * w]);
    const each = group.count === 1 ? flat : tf.add(flat, tf.fill([B, group.count, 1], 0));
    return { ...encodePrompts(weights, config, group), embedding: tf.reshape(each, [B * group.count, C, h, w]) };
  });
  const joined = <T extends tf.Tensor>(list: T[]): T => (list.length === 1 ? list[0]! : tf.concat(list, 0));
  return decodeMasks(weights, config, {
    embedding: joined(parts.map((part) => part.embedding as tf.Tensor4D)),
    sparse: joined(parts.map(({ sparse }) => sparse)),
    dense: joined(parts.map(({ dense }) => dense)),
    multimask,
  });
}

/** Answers the first points, and adds to each prompt that answer and a point where it is wrong. New tensors; the old are disposed. */
export function refine(
  weights: Weights,
  config: SamConfig,
  inputs: { embedding: tf.Tensor4D; step: PromptStep; targets: tf.Tensor; seed: number },
): PromptStep {
  const { embedding, step, targets, seed } = inputs;
  const [group] = step.groups as [PromptGroup];
  const refined = tf.tidy(() => {
    const { masks } = decodeGroups(weights, config, { embedding, groups: [group], multimask: false });
    const [N, , cells] = masks.shape;
    const wanted = tf.reshape(tf.gather(targets, step.objects), [N, cells * cells]);
    const inside = tf.cast(tf.greater(wanted, 0.5), 'float32');
    const found = tf.cast(tf.greater(tf.reshape(masks, [N, cells * cells]), 0), 'float32');
    const order = tf.randomUniform([1, cells * cells], 0.1, 1, 'float32', seed);
    const at = tf.argMax(tf.mul(tf.abs(tf.sub(found, inside)), order), 1); // [N]
    const label = tf.sum(tf.mul(tf.oneHot(at, cells * cells, 1, 0, 'float32'), inside), 1, true); // [N, 1]
    const cell = config.imageSize / cells;
    const row = tf.floor(tf.div(tf.cast(at, 'float32'), cells));
    const column = tf.sub(tf.cast(at, 'float32'), tf.mul(row, cells));
    const place = tf.sub(tf.mul(tf.add(tf.stack([column, row], 1), 0.5), cell), 0.5); // [N, 2]
    return {
      count: group.count,
      points: tf.concat([group.points!, tf.expandDims(place, 1)], 1) as tf.Tensor3D,
      labels: tf.concat([group.labels!, label], 1) as tf.Tensor2D,
      masks,
    };
  });
  tf.dispose([group.points, group.labels]);
  return { ...step, groups: [refined] };
}

/** SAM's loss of the answers to a step's prompts (see `maskLoss`). @param inputs.targets [objects, cells, cells] in [0, 1] */
export function promptLoss(
  weights: Weights,
  config: SamConfig,
  inputs: { embedding: tf.Tensor4D; step: PromptStep; targets: tf.Tensor; focal: FocalOptions },
): LossParts {
  const { embedding, step, targets, focal } = inputs;
  const { masks, scores } = decodeGroups(weights, config, { embedding, ...step });
  const wanted = step.filled ? filled(step, targets, config) : tf.gather(targets, step.objects);
  return maskLoss({ logits: masks, scores, targets: wanted as tf.Tensor3D }, focal);
}

/** The targets of a step's prompts, those of boxes alone all that is within the box: [prompts, cells, cells]. */
function filled({ groups, objects }: PromptStep, targets: tf.Tensor, { imageSize }: SamConfig): tf.Tensor {
  const cells = targets.shape[1]!;
  const middles = tf.mul(tf.add(tf.range(0, cells), 0.5), imageSize / cells); // [cells]
  const between = (low: tf.Tensor, high: tf.Tensor) =>
    tf.cast(tf.logicalAnd(tf.greater(middles, low), tf.less(middles, high)), 'float32'); // [N, cells]
  let first = 0;
  const parts = groups.map(({ boxes, points }) => {
    const N = (boxes ?? points)!.shape[0];
    const own = tf.gather(targets, tf.slice(objects, first, N));
    first += N;
    if (!boxes || points) return own;
    const [x0, y0, x1, y1] = tf.split(boxes, 4, 1); // [N, 1]
    return tf.mul(tf.expandDims(between(y0!, y1!), 2), tf.expandDims(between(x0!, x1!), 1));
  });
  return tf.concat(parts, 0);
}
