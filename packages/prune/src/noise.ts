import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { uniformFrom } from './random.ts';

export type Distribution = 'normal' | 'uniform' | 'laplace';

export interface NoiseOptions {
  /** Integer; give every batch its own. */
  seed: number;
  /** Standard deviation, of every distribution. Default 0.01 (SlimSAM section 3.2; 0.005 to 0.05 work). */
  sigma?: number;
  /** Default 'normal'; all have mean 0. */
  distribution?: Distribution;
}

/** One draw with mean 0 and standard deviation 1 from a source of uniform numbers in [0, 1). */
const draws: Readonly<Record<Distribution, (uniform: () => number) => number>> = {
  normal: (uniform) => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  uniform: (uniform) => Math.sqrt(3) * (2 * uniform() - 1),
  laplace: (uniform) => {
    const centred = uniform() - 0.5;
    return (-Math.sign(centred) * Math.log(1 - 2 * Math.abs(centred))) / Math.SQRT2;
  },
};

/**
 * Seeded noise [shape], float32: the same seed gives the same values on every backend.
 * @throws when sigma is not positive and finite, or the seed is not an integer.
 */
export function noise(shape: readonly number[], options: NoiseOptions): tf.Tensor {
  checkFields('noise', { shape, options }, { shape: 'list', options: 'object' });
  const { seed, sigma = 0.01, distribution = 'normal' } = options;
  if (!Number.isSafeInteger(seed)) throw new Error(`noise: expected an integer seed, got ${seed}`);
  if (!(sigma > 0 && sigma < Infinity)) throw new Error(`noise: expected sigma > 0, got ${sigma}`);
  const draw = draws[distribution];
  if (draw === undefined) {
    throw new Error(`noise: expected one of ${Object.keys(draws).join(', ')}, got '${distribution}'`);
  }
  const uniform = uniformFrom(seed);
  const values = new Float32Array(shape.reduce((total, size) => total * size, 1));
  for (let i = 0; i < values.length; i++) values[i] = sigma * draw(uniform);
  return tf.tensor(values, [...shape]);
}

/**
 * MSE(f(x), f(x) + n) where the target is a constant (SlimSAM eq. 4), from one forward pass: dL/df = -2 n / elements.
 * The value is mean(n²). `output` and `disturbance` have the same shape.
 * @throws when the shapes differ.
 */
export function disturbedLoss(output: tf.Tensor, disturbance: tf.Tensor): tf.Scalar {
  checkFields('disturbedLoss', { output, disturbance }, { output: 'tensor', disturbance: 'tensor' });
  if (output.shape.join() !== disturbance.shape.join()) {
    throw new Error(
      `disturbedLoss: expected noise of the output's shape [${output.shape.join(', ')}], got [${disturbance.shape.join(', ')}]`,
    );
  }
  const loss = tf.customGrad((_output, save) => {
    (save as tf.GradSaveFunc)([disturbance]);
    return {
      value: tf.mean(tf.square(disturbance)),
      gradFunc: (dy: tf.Tensor, [n]: tf.Tensor[]) => tf.mul(n!, tf.mul(dy, -2 / n!.size)),
    };
  });
  return loss(output) as tf.Scalar;
}
