import { bottleneckAligning } from '@slimsam/distill';
import { adamStep } from '@slimsam/tensor-webgpu/ops';
import { bottleneckTaps, encodeImage, initSam, type SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
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
  const rows = Object.entries(sized(2)).map(([name, weight]) => ({
    ...{ name, weight, m: tf.zerosLike(weight), v: tf.zerosLike(weight) },
  }));
  let step = 0;
  return () => {
    step++;
    tf.tidy(() => {
      const original = features(teacher);
      const loss = (...weights: tf.Tensor[]) =>
        bottleneckAligning({
          student: features(Object.fromEntries(rows.map(({ name }, i) => [name, weights[i]!]))),
          teacher: original,
          taps,
          a: 0.5,
        }).total;
      const { grads } = tf.valueAndGrads(loss)(rows.map(({ weight }) => weight));
      rows.forEach((row, i) => {
        const { weight, m, v } = row;
        Object.assign(
          row,
          adamStep({ weight, m, v, gradient: grads[i]! }, { step, learningRate: 1e-4, consume: true }),
        );
        tf.dispose([weight, m, v]);
        for (const kept of [row.weight, row.m, row.v]) tf.keep(kept);
      });
    });
  };
}
