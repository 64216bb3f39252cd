import type { Forward } from '@slimsam/distill';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { featureDistance } from '../evaluate/feature-distance.ts';
import { cachedTeacher } from '../teacher-cache/teacher-cache.ts';
import { type Context, pixelsOf, unreadable } from './context.ts';
import type { ValidationResult } from './events.ts';

/**
 * How far a student's features are from the original's on the photographs that are held back: mean squared error, relative error
 * sqrt(sum (x - y)² / sum y²), and the mean cosine of the channels at each place.
 *
 * @throws when none of them can be read, or the signal aborts
 */
export async function validate(
  context: Context,
  student: Weights,
  original: Weights,
): Promise<Omit<ValidationResult, 'measure'>> {
  const { network, held } = context;
  const channels = network.kind === 'sam' ? 1 : 2;
  let [error, relative, cosine, count] = [0, 0, 0, 0];
  const forward: Forward = (weights, images, taps) => network.forward(weights, images, { taps });
  const teacher = context.teacherCache && cachedTeacher({ forward, weights: original }, context.teacherCache);
  for await (const { name, pixels } of pixelsOf(context, held)) {
    const known = (await teacher?.features({ images: pixels, names: [name] }, []))?.embedding;
    const [x, y] = tf.tidy(() => {
      const own = forward(student, pixels, []).embedding;
      return [own, known ?? forward(original, pixels, []).embedding];
    });
    const found = await featureDistance(x!, y!, { channels }).finally(() => tf.dispose([x, y]));
    error += found.error;
    relative += found.share;
    cosine += found.cosine;
    count++;
  }
  if (count === 0) throw unreadable(context.photographs);
  return { error: error / count, relative: Math.sqrt(relative / count), cosine: cosine / count };
}
