import type { SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { Matrix } from 'ml-matrix';
import { type HeadRotation, headRotation, streamRotation } from './directions.ts';
import type { Moments } from './moments.ts';

/**
 * The same image encoder with other channels: those of the stream and of the heads are principal directions and hidden ones are sorted, each
 * with the strongest first, so that a slim model keeps the first. Scales and offsets of the layer norms are folded into the layers that read
 * them. All tensors are new.
 *
 * @param options.kept channels of the stream that will be kept: they hold as many directions, less one
 */
export async function rotatedWeights(
  weights: Weights,
  { config, moments, kept }: { config: SamConfig; moments: Moments; kept: number },
): Promise<Weights> {
  const rotations = await Promise.all(
    moments.blocks.map((block, index) => headRotations(weights, { config, block, index })),
  );
  return tf.tidy(() => {
    const made: Record<string, tf.Tensor> = { ...weights };
    const at = (name: string) => weights[`image_encoder.${name}`]!;
    const put = (name: string, tensor: tf.Tensor) => {
      made[`image_encoder.${name}`] = tf.reshape(tensor, at(name).shape);
    };
    const stream = tensorOf(streamRotation(moments.stream, kept)); // y = R x
    const C = stream.shape[0]!;
    const turned = (weight: tf.Tensor) => tf.matMul(stream, tf.reshape(weight, [C, -1]));
    const back = (weight: tf.Tensor) => tf.matMul(tf.reshape(weight, [-1, C]), stream, false, true);
    put('patch_embed.proj.weight', turned(at('patch_embed.proj.weight')));
    put('patch_embed.proj.bias', turned(at('patch_embed.proj.bias')));
    put('pos_embed', back(at('pos_embed')));
    put('neck.0.weight', back(at('neck.0.weight')));
    for (const [index, block] of moments.blocks.entries()) {
      const prefix = `blocks.${index}`;
      /** A layer that reads a layer norm: weight and bias without the norm's own scale and offset. */
      const read = (layer: string, norm: string) => {
        const [weight, offset] = [at(`${prefix}.${layer}.weight`), at(`${prefix}.${norm}.bias`)];
        const shifted = tf.squeeze(tf.matMul(weight as tf.Tensor2D, tf.expandDims(offset, 1) as tf.Tensor2D), [1]);
        put(`${prefix}.${norm}.weight`, tf.ones([C]));
        put(`${prefix}.${norm}.bias`, tf.zeros([C]));
        return {
          weight: back(tf.mul(weight, at(`${prefix}.${norm}.weight`))),
          bias: tf.add(at(`${prefix}.${layer}.bias`), shifted),
        };
      };
      const attention = read('attn.qkv', 'norm1');
      const projection = at(`${prefix}.attn.proj.weight`);
      const D = projection.shape[1]! / config.heads;
      const heads = rotations[index]!;
      const parts = (['queries', 'keys', 'values'] as const).flatMap((part) =>
        heads.map((head) => tensorOf(head[part])),
      );
      const each = tf.stack(parts); // [3 * heads, D, D]
      put(`${prefix}.attn.qkv.weight`, tf.matMul(each, tf.reshape(attention.weight, [-1, D, C]), true));
      put(`${prefix}.attn.qkv.bias`, tf.matMul(each, tf.reshape(attention.bias, [-1, D, 1]), true));
      const columns = heads.map((head, i) =>
        tf.matMul(tf.slice(projection, [0, i * D], [C, D]) as tf.Tensor2D, tensorOf(head.projection)),
      );
      put(`${prefix}.attn.proj.weight`, turned(tf.concat(columns, 1)));
      put(`${prefix}.attn.proj.bias`, turned(at(`${prefix}.attn.proj.bias`)));
      const hidden = read('mlp.lin1', 'norm2');
      const out = at(`${prefix}.mlp.lin2.weight`);
      const strength = tf.mul(tf.sum(tf.square(out), 0), tf.tensor1d(block.hidden));
      const { indices: order } = tf.topk(strength, strength.size, true);
      put(`${prefix}.mlp.lin1.weight`, tf.gather(hidden.weight, order));
      put(`${prefix}.mlp.lin1.bias`, tf.gather(hidden.bias, order));
      put(`${prefix}.mlp.lin2.weight`, turned(tf.gather(out, order, 1)));
      put(`${prefix}.mlp.lin2.bias`, turned(at(`${prefix}.mlp.lin2.bias`)));
    }
    return Object.fromEntries(
      Object.entries(made).map(([name, tensor]) => [name, weights[name] === tensor ? tf.clone(tensor) : tensor]),
    );
  });
}

const tensorOf = (matrix: Matrix): tf.Tensor2D =>
  tf.tensor2d(Float32Array.from(matrix.to1DArray()), [matrix.rows, matrix.columns]);

/** Of the heads of a block. */
async function headRotations(
  weights: Weights,
  inputs: { config: SamConfig; block: Moments['blocks'][number]; index: number },
): Promise<HeadRotation[]> {
  const { config, block, index } = inputs;
  const weight = weights[`image_encoder.blocks.${index}.attn.proj.weight`]!;
  const [C, width] = weight.shape as [number, number];
  const whole = Matrix.from1DArray(C, width, Array.from(await weight.data<'float32'>()));
  const D = width / config.heads;
  return block.heads.map((own, head) =>
    headRotation({ ...own, projection: whole.subMatrix(0, C - 1, head * D, (head + 1) * D - 1) }),
  );
}
