import { encoderBlock, type SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { Matrix } from 'ml-matrix';

/** Second moments of what flows through an encoder, from which its channels become principal directions. */
export interface Moments {
  /** Of the stream, normalised as layer norms do [C, C]. */
  readonly stream: Matrix;
  readonly blocks: readonly BlockMoments[];
}

interface BlockMoments {
  /** By head [D, D]; keys without the mean of their image's. */
  readonly heads: readonly Readonly<Record<'queries' | 'keys' | 'attended', Matrix>>[];
  /** Variances of the hidden layer's channels [M]. */
  readonly hidden: Float32Array;
}

/** Sums on the device, by name. */
export type MomentSums = Record<string, tf.Tensor>;

/** Adds what flows for an image whose stream [1, h, w, C] enters the first block; the sums before are used up. */
export function addMoments(
  before: MomentSums | undefined,
  inputs: {
    readonly weights: Weights;
    readonly config: SamConfig;
    readonly depth: number;
    readonly entered: tf.Tensor;
  },
): MomentSums {
  const { weights, config, depth, entered } = inputs;
  const found = tf.tidy(() => {
    const sums: MomentSums = { stream: outer(normalised(entered)) };
    let stream = entered;
    for (let index = 0; index < depth; index++) {
      const { out, heads, qkv, attended, hidden } = encoderBlock(weights, config, stream, index);
      const rows = tf.reshape(hidden, [-1, hidden.shape.at(-1)!]);
      sums.stream = tf.add(tf.add(sums.stream!, outer(normalised(attended))), outer(normalised(out)));
      const [queries, keys] = [0, 1].map((part) => byHead(qkv, { part, parts: 3, heads: config.heads })) as [
        tf.Tensor,
        tf.Tensor,
      ];
      sums[`${index}.queries`] = outer(queries);
      sums[`${index}.keys`] = outer(tf.sub(keys, tf.mean(keys, 1, true)));
      sums[`${index}.attended`] = outer(byHead(heads, { part: 0, parts: 1, heads: config.heads }));
      sums[`${index}.hidden`] = tf.sum(rows, 0);
      sums[`${index}.hidden²`] = tf.sum(tf.square(rows), 0);
      stream = out;
    }
    sums.count = tf.scalar(entered.shape[1]! * entered.shape[2]!);
    return Object.fromEntries(
      Object.entries(sums).map(([name, sum]) => [name, tf.keep(before ? tf.add(before[name]!, sum) : tf.clone(sum))]),
    );
  });
  if (before) tf.dispose(before);
  return found;
}

/** The sums as matrices. */
export async function momentsOf(sums: MomentSums, depth: number): Promise<Moments> {
  const read = async (name: string) => (await sums[name]!.data()) as Float32Array;
  const [count] = await read('count');
  const matrices = async (name: string): Promise<Matrix[]> => {
    const values = await read(name);
    const size = sums[name]!.shape.at(-1)!;
    return Array.from({ length: values.length / size ** 2 }, (_, i) => {
      const own = values.subarray(i * size ** 2, (i + 1) * size ** 2);
      return Matrix.from1DArray(
        size,
        size,
        Array.from(own, (value) => value / count!),
      );
    });
  };
  const blocks: BlockMoments[] = [];
  for (let index = 0; index < depth; index++) {
    const [queries, keys, attended] = await Promise.all(
      ['queries', 'keys', 'attended'].map((name) => matrices(`${index}.${name}`)),
    );
    const [sum, squares] = await Promise.all([read(`${index}.hidden`), read(`${index}.hidden²`)]);
    blocks.push({
      heads: queries!.map((own, head) => ({ queries: own, keys: keys![head]!, attended: attended![head]! })),
      hidden: squares.map((square, i) => square / count! - (sum[i]! / count!) ** 2),
    });
  }
  const [stream] = await matrices('stream');
  return { stream: stream!, blocks };
}

/** Without mean and with variance 1 over the channels: [N, C]. */
function normalised(stream: tf.Tensor): tf.Tensor {
  const rows = tf.reshape(stream, [-1, stream.shape.at(-1)!]);
  const centred = tf.sub(rows, tf.mean(rows, 1, true));
  return tf.div(centred, tf.sqrt(tf.add(tf.mean(tf.square(centred), 1, true), 1e-6)));
}

/** x' x: [..., N, D] -> [..., D, D] */
const outer = (x: tf.Tensor): tf.Tensor => tf.matMul(x, x, true);

/** [..., parts * heads * D] -> [heads, N, D] of one of the parts. */
function byHead(x: tf.Tensor, { part, parts, heads }: { part: number; parts: number; heads: number }): tf.Tensor {
  const D = x.shape.at(-1)! / parts / heads;
  const split = tf.reshape(x, [-1, parts, heads, D]);
  return tf.transpose(tf.squeeze(tf.slice(split, [0, part, 0, 0], [-1, 1, heads, D]), [1]), [1, 0, 2]);
}
