import { plan as planOf } from '@slimsam/prune';
import { dims } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { roundingOf } from '../models/rounding.ts';
import { sample } from '../photographs/order.ts';
import type { RotateStep } from '../recipe/recipe.ts';
import { addMoments, type MomentSums, momentsOf } from '../rotate/moments.ts';
import { rotatedWeights } from '../rotate/rotated-weights.ts';
import { type Context, pixelsOf, unreadable } from './context.ts';
import { enteringStream } from './entering-stream.ts';
import type { StageEvent } from './events.ts';
import type { StepResult } from './run-store.ts';

/**
 * Gives a SAM's image encoder other channels, of which the first tell the most on some photographs; the function stays the same. A pruning
 * with the criterion 'leading' follows. The tensors are new.
 * `compress` refuses models that are no SAM on a plain ViT.
 *
 * @throws when no photograph can be read
 */
export async function* rotateStep(
  context: Context,
  { step, index, weights, plan }: { step: RotateStep; index: number } & StepResult,
): AsyncGenerator<StageEvent, StepResult, undefined> {
  const { network, seen, seed, signal } = context;
  const { name } = step;
  const config = network.sam!;
  const chosen = sample(seen, { size: Math.min(seen.length, step.sample ?? 32), seed: seed * 31 + index });
  yield { type: 'phase', kind: 'rotate', index, name, done: 0, total: chosen.length };
  const kept = await widthOf(context, { step, weights });
  const depth = network.taps(weights).bottleneck.mlpHidden.length;
  let sums: MomentSums | undefined;
  let done = 0;
  try {
    for await (const { pixels } of pixelsOf(context, chosen)) {
      signal?.throwIfAborted();
      const entered = enteringStream(network, { weights, pixels });
      sums = addMoments(sums, { weights, config, depth, entered });
      entered.dispose();
      await sums.count!.data(); // the device keeps up
      yield { type: 'scored', index, name, done: ++done, total: chosen.length };
    }
    if (!sums) throw unreadable(context.photographs);
    const moments = await momentsOf(sums, depth);
    return { weights: await rotatedWeights(weights, { config, moments, kept }), plan };
  } finally {
    if (sums) tf.dispose(sums);
  }
}

/** Channels of the stream that a pruning by the step's ratio keeps. */
async function widthOf(
  { network }: Context,
  { step, weights }: { step: RotateStep; weights: StepResult['weights'] },
): Promise<number> {
  const axes = network.axes(weights);
  const all = dims(axes, weights);
  const { size } = all.get('embed')!;
  const importance = { embed: new Float32Array(size).fill(1) };
  const roundTo = roundingOf(all, step.multiples);
  const how = { ratio: step.ratio, ranking: 'local', normalise: 'none', roundTo } as const;
  const { keep } = await planOf({ weights, axes, importance, ...how });
  return keep.embed?.length ?? size;
}
