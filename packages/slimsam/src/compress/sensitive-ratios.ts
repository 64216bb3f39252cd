import { classOf, ratiosBySensitivity, type Scores, type SensitivityPoint, sensitivity } from '@slimsam/prune';
import { dims, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { type Context, pixelsOf, unreadable } from './context.ts';

/** Photographs that tell how much a dimension bears. */
const most = 4;

/**
 * The part of each dimension's channels that goes where all bear about the same error of the output, with no training in between (see
 * `ratiosBySensitivity`): one level for all heads, and one for all MLPs, each at the ratio of its class.
 *
 * @param inputs.ratios by class
 * @throws when no photograph can be read
 */
export async function sensitiveRatios(
  context: Context,
  inputs: { readonly weights: Weights; readonly scores: Scores; readonly ratios: Readonly<Record<string, number>> },
): Promise<Record<string, number>> {
  const { network, photographs, seen, signal } = context;
  const { weights, scores, ratios } = inputs;
  const axes = network.axes(weights);
  const table = dims(axes, weights);
  const images: { pixels: tf.Tensor4D; wanted: tf.Tensor }[] = [];
  const outputOf = (model: Weights, pixels: tf.Tensor4D) => network.forward(model, pixels, {}).embedding;
  try {
    for await (const { pixels } of pixelsOf(context, seen.slice(0, most)))
      images.push({ pixels: tf.clone(pixels), wanted: tf.tidy(() => outputOf(weights, pixels)) });
    if (images.length === 0) throw unreadable(photographs);
    const error = async (pruned: Weights): Promise<number> => {
      const sum = tf.tidy(() =>
        tf.addN(images.map(({ pixels, wanted }) => tf.mean(tf.squaredDifference(outputOf(pruned, pixels), wanted)))),
      );
      const [value] = await sum.data().finally(() => sum.dispose());
      return value!;
    };
    const largest = Math.max(0.9, ...Object.values(ratios).map((ratio) => (1 + ratio) / 2));
    const points: SensitivityPoint[] = [];
    const shares = [0.1, 0.3, 0.5, 0.7, largest];
    for await (const point of sensitivity({
      weights,
      axes,
      importance: scores,
      shares,
      error,
      ...(signal && { signal }),
    }))
      points.push(point);
    return Object.assign(
      {},
      ...Object.entries(ratios).map(([name, ratio]) => {
        const own = Object.keys(scores).filter((dimension) => classOf(dimension) === name);
        const sizes = Object.fromEntries(own.map((dimension) => [dimension, table.get(dimension)!.size]));
        return ratiosBySensitivity(points, { ratio, sizes });
      }),
    );
  } finally {
    for (const { pixels, wanted } of images) tf.dispose([pixels, wanted]);
  }
}
