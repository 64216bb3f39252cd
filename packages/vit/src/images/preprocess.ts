import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { SamConfig } from '../sam/config.ts';
import { type ImagePixels, toRgb } from './image-pixels.ts';
import { resizeLongestSide } from './resize.ts';

/** An image as the encoder reads it. */
export interface Preprocessed {
  /** [1, 3, S, S] */
  readonly pixels: tf.Tensor4D;
  /** [height, width] of the resized image, at the top left of the square */
  readonly inputSize: [number, number];
}

/**
 * Resizes an image to the config's longest side, normalises it to (x - pixelMean) / pixelStd, and pads it with zeros below and to the right
 * to a square (segment-anything, predictor.py and modeling/sam.py).
 *
 * @throws when the image has no pixels, or its data does not fit its size
 */
export function preprocess(image: ImagePixels, config: SamConfig): Preprocessed {
  checkFields('preprocess', { config }, { config: 'object' });
  const { imageSize: S, pixelMean, pixelStd } = config;
  const { width, height, data } = resizeLongestSide(toRgb(image, 'preprocess'), S);
  const pixels = new Float32Array(3 * S * S);
  for (let channel = 0; channel < 3; channel++) {
    const [mean, deviation] = [pixelMean[channel]!, pixelStd[channel]!];
    for (let y = 0; y < height; y++) {
      const row = channel * S * S + y * S;
      for (let x = 0; x < width; x++) pixels[row + x] = (data[(y * width + x) * 3 + channel]! - mean) / deviation;
    }
  }
  return { pixels: tf.tensor4d(pixels, [1, 3, S, S]), inputSize: [height, width] };
}
