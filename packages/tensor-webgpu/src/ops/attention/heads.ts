import * as tf from '@tensorflow/tfjs-core';
import { expectTensors, hasKernel, runFused } from '../fused.ts';

type Heads = [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];

/** `splitHeads` composed of TensorFlow.js ops. @throws when qkv is not [G, N, 3 * heads * D] */
export function splitHeadsReference(qkv: tf.Tensor, heads: number): Heads {
  expectTensors('splitHeads', { qkv });
  const [G, N, D] = checkHeads(qkv, heads);
  return tf.tidy(() => {
    const split = tf.transpose(tf.reshape(qkv, [G, N, 3, heads, D]), [2, 0, 3, 1, 4]); // [3, G, heads, N, D]
    return tf.unstack(tf.reshape(split, [3, G * heads, N, D])) as Heads;
  });
}

/**
 * Query, key and value of each head for `attention`, from what one linear layer makes of N tokens of G images or windows:
 * qkv [G, N, 3 * heads * D] -> three of [G * heads, N, D].
 *
 * @throws when qkv is not [G, N, 3 * heads * D]
 */
export function splitHeads(qkv: tf.Tensor, heads: number): Heads {
  expectTensors('splitHeads', { qkv });
  if (qkv.size === 0 || qkv.dtype !== 'float32' || !hasKernel('SplitHeads')) return splitHeadsReference(qkv, heads);
  checkHeads(qkv, heads);
  return runFused('SplitHeads', { qkv }, { heads }) as Heads;
}

tf.registerGradient({
  kernelName: 'SplitHeads',
  gradFunc: (dys, _saved, { heads }) => ({
    qkv: () => {
      const [query, key, value] = dys as tf.Tensor[] as Heads;
      return runFused('JoinHeads', { query, key, value }, { heads: heads as number })[0]!;
    },
  }),
});

/** G, N and D. */
function checkHeads(qkv: tf.Tensor, heads: number): [number, number, number] {
  const [G, N, width] = qkv.shape as [number, number, number];
  const D = width / 3 / heads;
  if (qkv.rank !== 3 || !Number.isInteger(heads) || !Number.isInteger(D))
    throw new Error(
      `splitHeads: expected qkv [G, N, 3 * ${heads} * D], got [${qkv.shape}]; q, k and v lie side by side`,
    );
  return [G, N, D];
}
