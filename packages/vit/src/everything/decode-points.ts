import * as tf from '@tensorflow/tfjs-core';
import type { Sam } from '../checkpoint/load-sam.ts';
import { stabilityAreas, stabilityScore } from '../masks/stability-score.ts';
import { upsampleMasks } from '../masks/upsample-masks.ts';
import { gridSize, type SamConfig } from '../sam/config.ts';
import { decodeMasks } from '../sam/mask-decoder.ts';
import { encodePrompts } from '../sam/prompt-encoder.ts';
import { type Box, maskBox } from './boxes.ts';
import type { Candidate } from './candidates.ts';
import type { EverythingSettings } from './options.ts';
import { packedArea, packMask } from './packed-mask.ts';

/** A crop whose image is encoded. */
export interface EncodedCrop {
  /** Where it lies in the image. */
  readonly box: Box;
  /** [1, C, h, w] */
  readonly embedding: tf.Tensor4D;
  /** [height, width] of the resized crop */
  readonly inputSize: readonly [number, number];
}

/** What became of the masks of some points. */
export interface DecodedPoints {
  readonly candidates: Candidate[];
  /** Masks that the decoder made. */
  readonly decoded: number;
  /** Of them those above `predIouThresh`. */
  readonly wellPredicted: number;
  /** The highest predicted IoU of all. */
  readonly bestIou: number;
}

/**
 * The masks of some points of a crop that the model predicts well and that are stable, three for each point at most.
 *
 * @param points [P, 2], x and y in [0, 1] of the crop
 */
export async function decodePoints(
  { weights, config }: Sam,
  crop: EncodedCrop,
  {
    points,
    settings,
    masksAtOnce,
  }: {
    points: readonly (readonly [number, number])[];
    settings: EverythingSettings;
    masksAtOnce: number;
  },
): Promise<DecodedPoints> {
  const [height, width] = crop.inputSize;
  const { masks, scores } = tf.tidy(() => {
    const places = tf.tensor3d(
      points.flatMap(([x, y]) => [x * width, y * height]),
      [points.length, 1, 2],
    );
    const prompts = encodePrompts(weights, config, { points: places, labels: tf.ones([points.length, 1]) });
    const decoded = decodeMasks(weights, config, { embedding: crop.embedding, ...prompts, multimask: true });
    const side = 4 * gridSize(config);
    return { masks: tf.reshape(decoded.masks, [-1, side, side]) as tf.Tensor3D, scores: decoded.scores };
  });
  try {
    const perPoint = scores.shape[1];
    const ious = await scores.data<'float32'>();
    const { predIouThresh } = settings;
    const good = Array.from(ious.keys()).filter((i) => predIouThresh <= 0 || ious[i]! > predIouThresh);
    const candidates: Candidate[] = [];
    for (let at = 0; at < good.length; at += masksAtOnce) {
      const chunk = good.slice(at, at + masksAtOnce);
      for (const { index: i, ...mask } of await readStable(config, crop, { masks, chunk, settings })) {
        const [x, y] = points[Math.floor(i / perPoint)]!;
        const [x0, y0, x1, y1] = crop.box;
        const point = [x0 + x * (x1 - x0), y0 + y * (y1 - y0)] as const;
        candidates.push({ ...mask, predictedIou: ious[i]!, point, crop: crop.box });
      }
    }
    const bestIou = ious.reduce((best, iou) => Math.max(best, iou), Number.NEGATIVE_INFINITY);
    return { candidates, decoded: ious.length, wellPredicted: good.length, bestIou };
  } finally {
    tf.dispose([masks, scores]);
  }
}

/** Brings a chunk of `masks` [N, 4h, 4w], given by indices, to full size and keeps the stable ones. */
async function readStable(
  config: SamConfig,
  { box: crop, inputSize }: EncodedCrop,
  { masks, chunk, settings }: { masks: tf.Tensor3D; chunk: readonly number[]; settings: EverythingSettings },
): Promise<(Pick<Candidate, 'packed' | 'area' | 'box' | 'stabilityScore'> & { index: number })[]> {
  const { maskThreshold, stabilityScoreOffset, stabilityScoreThresh } = settings;
  const [width, height] = [crop[2] - crop[0], crop[3] - crop[1]];
  const logits = tf.tidy(() => {
    const sizes = { inputSize, originalSize: [height, width] as const, imageSize: config.imageSize };
    const lowRes = tf.gather(masks, tf.tensor1d([...chunk], 'int32')); // [n, 4h, 4w]
    return tf.squeeze(upsampleMasks(tf.expandDims(lowRes, 0), sizes), [0]) as tf.Tensor3D; // [n, H, W]
  });
  try {
    const areas = await stabilityAreas(logits, { threshold: maskThreshold, offset: stabilityScoreOffset });
    const scores = areas.map(stabilityScore);
    const stable = Array.from(scores.keys()).filter(
      (i) => stabilityScoreThresh <= 0 || scores[i]! >= stabilityScoreThresh,
    );
    if (stable.length === 0) return [];
    const inside = tf.tidy(() => tf.greater(tf.gather(logits, tf.tensor1d(stable, 'int32')), maskThreshold));
    const all = await inside.data<'bool'>().finally(() => inside.dispose());
    return stable.map((index, i) => {
      const bits = all.subarray(i * width * height, (i + 1) * width * height);
      const [x0, y0, x1, y1] = maskBox(bits, width);
      const packed = packMask(bits, crop);
      return {
        index: chunk[index]!,
        packed,
        area: packedArea(packed),
        box: [x0 + crop[0], y0 + crop[1], x1 + crop[0], y1 + crop[1]] as const,
        stabilityScore: scores[index]!,
      };
    });
  } finally {
    logits.dispose();
  }
}
