import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { LossParts } from './loss.ts';

/** Predicted masks and what they should be. */
export interface MaskPrediction {
  /** [N, M, h, w] */
  readonly logits: tf.Tensor4D;
  /** [N, M], predicted IoU */
  readonly scores: tf.Tensor2D;
  /** [N, h, w], in [0, 1] */
  readonly targets: tf.Tensor3D;
}

/** The focal part of {@link maskLoss}. */
export interface FocalOptions {
  /** Weight of the pixels inside; those outside have 1 - alpha. */
  readonly alpha?: number;
  /** The power of 1 - p_t; 0 makes it a cross entropy. */
  readonly gamma?: number;
  /** Of the focal part in the total, where dice and IoU have 1. */
  readonly weight?: number;
}

/**
 * SAM's training loss: 20 focal + dice of the best of the M masks of a prompt, and the squared error of the predicted IoU of all
 * (Segment Anything, appendix A). The best is the one with the least 20 focal + dice; means are taken over prompts.
 *
 * focal = mean of -alpha_t (1 - p_t)^gamma log p_t (alpha 0.25, gamma 2); dice = 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1); p = sigmoid(logits).
 *
 * @throws when the shapes disagree
 */
export function maskLoss(prediction: MaskPrediction, options: FocalOptions = {}): LossParts {
  checkFields('maskLoss', { options }, { options: 'object?' });
  checkFields('maskLoss', prediction, { logits: 'tensor', scores: 'tensor', targets: 'tensor' });
  const { logits, scores, targets } = prediction;
  const { alpha = 0.25, gamma = 2, weight = 20 } = options;
  const [N, M, h, w] = logits.shape;
  if (targets.shape.join() !== [N, h, w].join() || scores.shape.join() !== [N, M].join()) {
    throw new Error(
      `maskLoss: expected scores [${N}, ${M}] and targets [${N}, ${h}, ${w}] for logits [${logits.shape}], got [${scores.shape}] and [${targets.shape}]`,
    );
  }
  const x = tf.reshape(logits, [N, M, h * w]);
  const t = tf.reshape(targets, [N, 1, h * w]);
  const p = tf.sigmoid(x);
  const both = tf.mul(p, t);
  const crossEntropy = tf.sub(tf.softplus(x), tf.mul(x, t));
  const missed = tf.sub(tf.add(p, t), tf.mul(both, 2)); // 1 - p_t = p + t - 2 p t
  const share = tf.add(tf.mul(t, 2 * alpha - 1), 1 - alpha); // alpha inside, 1 - alpha outside
  const surprise = gamma === 0 ? crossEntropy : tf.mul(crossEntropy, tf.pow(missed, gamma));
  const focal = tf.mean(tf.mul(surprise, share), 2); // [N, M]
  const overlap = tf.add(tf.mul(tf.sum(both, 2), 2), 1);
  const dice = tf.sub(1, tf.div(overlap, tf.add(tf.add(tf.sum(p, 2), tf.sum(t, 2)), 1))); // [N, M]
  const choice = constant(tf.add(tf.mul(focal, weight), dice), best); // [N, M]
  const parts = {
    focal: tf.div(tf.sum(tf.mul(focal, choice)), N) as tf.Scalar,
    dice: tf.div(tf.sum(tf.mul(dice, choice)), N) as tf.Scalar,
    iou: tf.mean(
      tf.squaredDifference(
        scores,
        constant(x, (logits) => realIou(logits, t)),
      ),
    ) as tf.Scalar,
  };
  return { total: tf.addN([tf.mul(parts.focal, weight), parts.dice, parts.iou]) as tf.Scalar, parts };
}

/** 1 for the least of each row, 0 for the others: [N, M]. */
function best(losses: tf.Tensor): tf.Tensor {
  const M = losses.shape[1]!;
  if (M === 1) return tf.onesLike(losses); // tf.oneHot wants two or more
  return tf.oneHot(tf.argMin(losses, 1), M, 1, 0, 'float32');
}

/** IoU of the masks cut at 0 with the targets cut at a half: [N, M]. */
function realIou(logits: tf.Tensor, t: tf.Tensor): tf.Tensor {
  const mask = tf.cast(tf.greater(logits, 0), 'float32');
  const target = tf.cast(tf.greater(t, 0.5), 'float32');
  const overlap = tf.sum(tf.mul(mask, target), 2);
  const union = tf.sub(tf.add(tf.sum(mask, 2), tf.sum(target, 2)), overlap);
  return tf.div(overlap, tf.maximum(union, 1));
}

/** f(x), of which the gradient is zero. */
function constant(x: tf.Tensor, f: (x: tf.Tensor) => tf.Tensor): tf.Tensor {
  const { shape } = x; // x itself may be gone when the gradient is asked for
  return tf.customGrad((x) => ({ value: f(x as tf.Tensor), gradFunc: () => tf.fill(shape, 0) }))(x);
}
