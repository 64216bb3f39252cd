import * as tf from '@tensorflow/tfjs-core';
import type { RgbImage } from '../images/image.ts';
import { resizeBilinear } from '../images/resize.ts';
import type { VitConfig } from './config.ts';

/**
 * Resizes an image to the config's size by Pillow's bilinear filter, whatever its sides, and normalises it to (x - pixelMean) / pixelStd
 * -> [1, 3, H, W], as transformers' ViTImageProcessor does. DINOv2's and CLIP's processors crop instead: give them an image that is cut
 * to the sides' ratio.
 */
export function preprocessVit(image: RgbImage, config: VitConfig): tf.Tensor4D {
  const [height, width] = config.imageSize;
  const { data } = resizeBilinear(image, { width, height });
  return tf.tidy(() => {
    const centred = tf.sub(tf.tensor4d(data, [1, height, width, 3], 'float32'), tf.tensor1d([...config.pixelMean]));
    return tf.transpose(tf.div(centred, tf.tensor1d([...config.pixelStd])), [0, 3, 1, 2]) as tf.Tensor4D;
  });
}
