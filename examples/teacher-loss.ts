import { type FocalOptions, type LossParts, maskLoss } from '@slimsam/distill';
import { maskIou } from '@slimsam/eval';
import { generateScene } from '@slimsam/scenes';
import { createPredictor, decodeMasks, encodeImage, encodePrompts, type SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { TeacherBatch } from './teacher-batches.ts';

/** SAM's training loss for a batch of images, each with several prompts. */
export function promptedLoss(weights: Weights, config: SamConfig, batch: TeacherBatch, focal: FocalOptions): LossParts {
  const { embedding } = encodeImage(weights, config, batch.images);
  const [B, C, h, w] = embedding.shape;
  const prompts = batch.targets.shape[0] / B;
  const each = tf.add(tf.reshape(embedding, [B, 1, C * h * w]), tf.zeros([B, prompts, C * h * w]));
  const { sparse, dense } = encodePrompts(weights, config, batch);
  const { masks, scores } = decodeMasks(weights, config, {
    embedding: tf.reshape(each, [B * prompts, C, h, w]),
    sparse,
    dense,
    multimask: batch.multimask,
  });
  return maskLoss({ logits: masks, scores, targets: batch.targets }, focal);
}

/** mIoU with one point on scenes from `seed` on: the mean within a scene, then over scenes. */
export async function validate(
  weights: Weights,
  config: SamConfig,
  options: { scenes: number; seed: number },
): Promise<number> {
  const predictor = createPredictor(weights, config);
  let total = 0;
  for (let i = 0; i < options.scenes; i++) {
    const { image, annotations } = generateScene(options.seed + i, {
      width: config.imageSize,
      height: config.imageSize,
    });
    const embedded = predictor.embed(image);
    const points = annotations.map(({ point }) => [point]);
    const { masks, lowRes } = await predictor.predict(embedded, { points }, { multimask: false });
    const ious = annotations.map(({ mask }, k) => maskIou(mask, masks[k]![0]!));
    total += ious.reduce((sum, iou) => sum + iou, 0) / ious.length;
    tf.dispose([embedded.embedding, lowRes]);
  }
  return total / options.scenes;
}
