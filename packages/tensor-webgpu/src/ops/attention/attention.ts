import * as tf from '@tensorflow/tfjs-core';
import { expectTensor, expectTensors, hasKernel, runFused } from '../fused.ts';

/** What attention reads. G counts independent attentions: batch x windows x heads. */
export interface AttentionInputs {
  /** [G, Nq, D] */
  readonly query: tf.Tensor;
  /** [G, Nk, D] */
  readonly key: tf.Tensor;
  /** [G, Nk, D] */
  readonly value: tf.Tensor;
  /** Multiplies the scores; 1 / sqrt(D) unless given. */
  readonly scale?: number;
  /** Decomposed relative positions, added to the scores: height [G, Nq, kh] and width [G, Nq, kw] with kh * kw = Nk. */
  readonly bias?: { readonly height: tf.Tensor; readonly width: tf.Tensor };
}

/**
 * softmax(scale Q K' + bias) V -> [G, Nq, D], composed of TensorFlow.js ops: it stores the scores [G, Nq, Nk].
 *
 * The fallback of `attention` on other backends, and its oracle.
 *
 * @throws when the shapes disagree
 */
export function attentionReference(inputs: AttentionInputs): tf.Tensor3D {
  expectTensors('attention', { query: inputs?.query, key: inputs?.key, value: inputs?.value });
  const { query, key, value, scale, bias } = checkAttention(inputs);
  return tf.tidy(() => {
    let scores: tf.Tensor = tf.mul(tf.matMul(query, key, false, true), scale);
    if (bias) {
      const [G, Nq, kh] = bias.height.shape as [number, number, number];
      const kw = bias.width.shape[2]!;
      const grid = tf.reshape(scores, [G, Nq, kh, kw]); // [G, Nq, Nk] -> [G, Nq, kh, kw]
      const height = tf.reshape(bias.height, [G, Nq, kh, 1]); // [G, Nq, kh] -> [G, Nq, kh, 1]
      const width = tf.reshape(bias.width, [G, Nq, 1, kw]); // [G, Nq, kw] -> [G, Nq, 1, kw]
      scores = tf.reshape(tf.add(tf.add(grid, height), width), scores.shape);
    }
    return tf.matMul(tf.softmax(scores), value);
  });
}

/**
 * Attention with decomposed relative positions (segment-anything, modeling/image_encoder.py):
 * out[g, q] = sum_k softmax_k(scale query[g, q] . key[g, k] + height[g, q, k / kw] + width[g, q, k % kw]) value[g, k] -> [G, Nq, D].
 *
 * Stores no scores, only their log-sum-exps [G, Nq] for the gradient; rows of keys wider than 256 with a bias are composed instead.
 *
 * @throws when the shapes disagree
 */
export function attention(inputs: AttentionInputs): tf.Tensor3D {
  expectTensors('attention', { query: inputs?.query, key: inputs?.key, value: inputs?.value });
  const name = inputs.bias ? 'FusedAttentionBias' : 'FusedAttention';
  if (!hasKernel(name) || (inputs.bias && inputs.bias.width.shape[2]! > widestBias)) return attentionReference(inputs);
  const { query, key, value, scale, bias } = checkAttention(inputs);
  if (query.size === 0 || key.size === 0) return tf.zeros(query.shape);
  return tf.tidy(() => runFused(name, { query, key, value, ...bias }, { scale })[0] as tf.Tensor3D);
}

const widestBias = 256; // the kernels hold a query's bias over a row of keys in private memory

const attentionGradient: Omit<tf.GradConfig, 'kernelName' | 'inputsToSave'> = {
  outputsToSave: [true, true],
  gradFunc: (dy, saved, attrs) => {
    const withBias = saved.length === 7;
    const [query, key, value] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
    const [height, width] = withBias ? saved.slice(3) : [];
    const [output, logSumExp] = saved.slice(-2) as [tf.Tensor, tf.Tensor];
    const inputs = { query, key, value, ...(withBias && { height: height!, width: width! }) };
    // one backward run for all inputs, and before the thunks: each thunk is tidied on its own
    const gradients = runFused(
      'FusedAttentionGrad',
      { ...inputs, output, logSumExp, gradient: (dy as tf.Tensor[])[0]! },
      { scale: attrs.scale as number },
    );
    return Object.fromEntries(Object.keys(inputs).map((name, i) => [name, () => gradients[i]!]));
  },
};

tf.registerGradient({ ...attentionGradient, kernelName: 'FusedAttention', inputsToSave: ['query', 'key', 'value'] });
tf.registerGradient({
  ...attentionGradient,
  kernelName: 'FusedAttentionBias',
  inputsToSave: ['query', 'key', 'value', 'height', 'width'],
});

function checkAttention({ query, key, value, scale, bias }: AttentionInputs) {
  expectTensor(
    'attention: expected query',
    query,
    [null, null, null],
    'G, Nq, D',
    'fold batch, windows and heads into the first dimension',
  );
  const [G, Nq, D] = query.shape as [number, number, number];
  expectTensor(
    'attention: expected key',
    key,
    [G, null, D],
    'G, Nk, D',
    'query, key and value share G and the head width D',
  );
  if (scale !== undefined && !Number.isFinite(scale))
    throw new Error(`attention: expected a finite scale, got ${scale}; leave it out for 1 / sqrt(${D})`);
  const Nk = key.shape[1]!;
  expectTensor('attention: expected value', value, [G, Nk, D], 'G, Nk, D', 'every key has one value of the same width');
  if (bias) {
    expectTensor(
      'attention: expected bias.height',
      bias.height,
      [G, Nq, null],
      'G, Nq, kh',
      'it holds one number for each query and row of keys',
    );
    expectTensor(
      'attention: expected bias.width',
      bias.width,
      [G, Nq, null],
      'G, Nq, kw',
      'it holds one number for each query and column of keys',
    );
    const [kh, kw] = [bias.height.shape[2]!, bias.width.shape[2]!];
    if (kh * kw !== Nk)
      throw new Error(
        `attention: expected ${Nk} keys to be bias.height's kh x bias.width's kw, got ${kh} x ${kw}; the keys are a grid in row-major order`,
      );
  }
  return {
    query: query as tf.Tensor3D,
    key: key as tf.Tensor3D,
    value: value as tf.Tensor3D,
    scale: scale ?? 1 / Math.sqrt(D),
    bias,
  };
}
