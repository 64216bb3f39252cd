import * as tf from '@tensorflow/tfjs-core';

/** The sizes that masks go through. */
export interface MaskSizes {
  /** [height, width] of the resized image */
  readonly inputSize: readonly [number, number];
  /** [height, width] of the image itself */
  readonly originalSize: readonly [number, number];
  /** Side of the padded square. */
  readonly imageSize: number;
}

/**
 * Brings mask logits to the size of the image: bilinear to the padded square, without the padding, bilinear to the original size
 * (segment-anything, modeling/sam.py: postprocess_masks). [N, M, h, w] -> [N, M, H, W]
 */
export function upsampleMasks(masks: tf.Tensor4D, { inputSize, originalSize, imageSize }: MaskSizes): tf.Tensor4D {
  const [N, M, h, w] = masks.shape;
  return tf.tidy(() => {
    const flat = tf.reshape(masks, [N * M, h, w, 1]) as tf.Tensor4D; // every mask is an image of one channel
    const square = resize(flat, [imageSize, imageSize]);
    const cut = tf.slice(square, [0, 0, 0, 0], [N * M, ...inputSize, 1]);
    return tf.reshape(resize(cut, originalSize), [N, M, ...originalSize]);
  });
}

/** Bilinear with pixel centres at halves, as torch's align_corners=False. */
function resize(x: tf.Tensor4D, [height, width]: readonly [number, number]): tf.Tensor4D {
  if (x.shape[1] === height && x.shape[2] === width) return x;
  return tf.image.resizeBilinear(x, [height, width], false, true);
}
