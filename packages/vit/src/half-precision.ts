import { half } from '@slimsam/tensor-webgpu/ops';
import { checkFields, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/**
 * The weights of a SAM or of a plain ViT for inference in half precision: its matrices take two bytes a value, and q, k and v, the
 * attentions and the MLPs are computed from and to float16 with sums in float32.
 *
 * The residual stream, norms, biases, position embeddings and a SAM's prompt encoder and mask decoder stay float32. All tensors of the
 * result are new: `disposeWeights(weights)` then frees the memory of the old ones. Not for training.
 *
 * @throws when the backend is not that of `useWebgpu()`, or its adapter has no shader-f16
 */
export function halfPrecision(weights: Weights): Weights {
  checkFields('halfPrecision', { weights }, { weights: 'object' });
  return Object.fromEntries(
    Object.entries(weights).map(([name, weight]) => [name, isMatrix(name, weight) ? half(weight) : tf.clone(weight)]),
  );
}

/** Convolutions count: they are matrices of patches. */
const isMatrix = (name: string, { rank }: tf.Tensor): boolean =>
  rank >= 2 && name.endsWith('.weight') && !/^(prompt_encoder|mask_decoder)\./.test(name);
