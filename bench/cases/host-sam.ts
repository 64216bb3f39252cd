import { adam, bottleneckAligning } from '@slimsam/distill';
import { bottleneckTaps, encodeImage, initSam, type SamConfig } from '@slimsam/vit';
import { valueAndGradients, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { samB, samBConfig } from './vit-block.ts';

/** Encodes an image of 512 pixels with SAM-B's blocks at a quarter of their width. */
export function hostEncode(): () => void {
  const config = { ...samBConfig, imageSize: 512 };
  const weights = initSam(config, { ...samB, width: 192, mlpWidth: 768 }, { seed: 1 });
  const image = tf.ones<tf.Rank.R4>([1, 3, 512, 512]);
  return () => encodeImage(weights, config, image).embedding.dispose();
}

/** One step of stage 1 of the quickstart: features of a teacher, gradients of a student, Adam; one image of 256 pixels, since the null adapter has 512 MiB. */
export function hostStep(): () => void {
  const config: SamConfig = {
    ...samBConfig,
    imageSize: 256,
    heads: 4,
    headWidth: 32,
    windowSize: 8,
    globalBlocks: [2, 5],
  };
  const sized = (seed: number) =>
    Object.fromEntries(
      Object.entries(initSam(config, { ...samB, width: 128, depth: 6, mlpWidth: 512 }, { seed })).filter(([name]) =>
        name.startsWith('image_encoder.'),
      ),
    );
  const teacher: Weights = sized(1);
  const images = tf.ones<tf.Rank.R4>([1, 3, 256, 256]);
  const taps = bottleneckTaps(teacher, config);
  const names = Object.values(taps).flat();
  const features = (weights: Weights) => encodeImage(weights, config, images, { taps: names });
  const optimizer = adam();
  let weights: Weights = sized(2);
  let state = optimizer.init(weights);
  return () => {
    const original = tf.tidy(() => {
      const { embedding, taps } = features(teacher);
      return { embedding, taps: { ...taps } };
    });
    const { value, gradients } = valueAndGradients(
      weights,
      () => bottleneckAligning({ student: features(weights), teacher: original, taps, a: 0.5 }).total,
    );
    ({ weights, state } = optimizer.update({ weights, gradients, state }, 1e-4));
    tf.dispose([value, original]);
  };
}
