import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { type ImagePixels, toRgb } from '../images/image-pixels.ts';
import { resizeImage } from '../images/resize.ts';
import type { RgbImage } from '../images/rgb-image.ts';
import type { VitConfig, VitProcessing } from './config.ts';

/**
 * Brings an image to the input's size and normalises it to (x - pixelMean) / pixelStd -> [1, 3, H, W], as transformers' processors do.
 * Where the config has `processing` (of the folder's preprocessor_config.json, as DINOv2's and CLIP's have it): resized to that size by
 * its filter, then cut from the middle. Else resized to `imageSize` by Pillow's bilinear filter, whatever its sides: give images of
 * the same ratio.
 *
 * @throws when the image's data does not fit its size, or the crop is larger than what it is cut from
 */
export function preprocessVit(image: ImagePixels, config: VitConfig): tf.Tensor4D {
  checkFields('preprocessVit', { config }, { config: 'object' });
  const rgb = toRgb(image, 'preprocessVit');
  const [imageHeight, imageWidth] = config.imageSize;
  const processing = config.processing ?? { size: { height: imageHeight, width: imageWidth }, resample: 'bilinear' };
  const { height, width, data } = cropped(resized(rgb, processing), processing);
  return tf.tidy(() => {
    const centred = tf.sub(tf.tensor4d(data, [1, height, width, 3], 'float32'), tf.tensor1d([...config.pixelMean]));
    return tf.transpose(tf.div(centred, tf.tensor1d([...config.pixelStd])), [0, 3, 1, 2]) as tf.Tensor4D;
  });
}

function resized(image: RgbImage, { size, resample }: VitProcessing): RgbImage {
  if ('height' in size) return resizeImage(image, size, { filter: resample });
  const { width, height } = image;
  const long = Math.trunc((size.shortest * Math.max(width, height)) / Math.min(width, height));
  const sides = width <= height ? { width: size.shortest, height: long } : { width: long, height: size.shortest };
  return resizeImage(image, sides, { filter: resample });
}

/** The middle of an image, its odd pixel above and to the left. */
function cropped(image: RgbImage, { crop }: VitProcessing): RgbImage {
  if (!crop) return image;
  const { width, height } = crop;
  if (width > image.width || height > image.height)
    throw new Error(
      `preprocessVit: expected a crop within the resized ${image.width} x ${image.height}, got ${width} x ${height}; make processing.size larger`,
    );
  const left = Math.floor((image.width - width) / 2);
  const top = Math.floor((image.height - height) / 2);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * image.width + left) * 3;
    data.set(image.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { width, height, data };
}
