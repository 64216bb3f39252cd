import path from 'node:path';
import { maskLoss } from '@slimsam/distill';
import { decodeMasks, encodePrompts, type Sam } from '@slimsam/vit';
import * as tf from '@tensorflow/tfjs-core';
import type { ScoringLoss } from '../recipe/scoring.ts';
import { cellsOf, type LabelledSource } from './labelled-images.ts';

/** Objects of a photograph that count, at most. */
const most = 8;

/**
 * SAM's training loss of the teacher's decoder with people's masks, one point each: what a criterion with labels takes its gradients of.
 *
 * @param photographs with their masks; those without masks have a loss of 0
 * @throws as the photographs do, or when none has a mask; the loss, when it is asked for another photograph
 */
export async function labelledLoss(
  { weights, config }: Sam,
  photographs: AsyncIterable<LabelledSource>,
): Promise<ScoringLoss> {
  const { imageSize: size, patchSize } = config;
  const cells = (4 * size) / patchSize;
  const known = new Map<string, { points: [number, number][][]; targets: Float32Array[] }>();
  let masks = 0;
  for await (const { name, width, height, annotations } of photographs) {
    const scale = size / Math.max(width, height);
    const used = annotations.filter(({ pointCoords }) => pointCoords.length > 0).slice(0, most);
    known.set(path.basename(name), {
      points: used.map(({ pointCoords: [point] }) => [[point![0] * scale, point![1] * scale]]),
      targets: used.map(({ segmentation }) => cellsOf(segmentation, { scale, size, cells })),
    });
    masks += used.length;
  }
  if (masks === 0) throw new Error(`labelledLoss: expected photographs with masks, got none`);
  return (embedding, { name }) => {
    const labels = known.get(path.basename(name));
    if (!labels) throw new Error(`labelledLoss: expected a photograph with labels, got '${name}'`);
    const { points, targets } = labels;
    const N = points.length;
    if (N === 0) return tf.mul(tf.sum(embedding), 0) as tf.Scalar;
    const prompts = encodePrompts(weights, config, { points: tf.tensor3d(points), labels: tf.ones([N, 1]) });
    const repeated = tf.concat(
      points.map(() => embedding as tf.Tensor4D),
      0,
    );
    const found = decodeMasks(weights, config, { embedding: repeated, ...prompts, multimask: false });
    const wanted = tf.stack(targets.map((values) => tf.tensor2d(values, [cells, cells]))) as tf.Tensor3D;
    return maskLoss({ logits: found.masks, scores: found.scores, targets: wanted }).total;
  };
}
