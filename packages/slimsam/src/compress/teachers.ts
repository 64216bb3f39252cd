import type { DistillOptions, Features, Model, Position } from '@slimsam/distill';
import type { Weights } from '@slimsam/weights';
import { cachedTeacher, type NamedImages, type TeacherCache } from '../teacher-cache/teacher-cache.ts';

/** The features that an aligning loss compares with: the original's and those of the model before the last pruning. */
export type TeacherFeatures = Readonly<Record<'original' | 'previous', Features>>;

type Teachers = Pick<DistillOptions<'original' | 'previous', NamedImages>, 'teachers' | 'taps'>;

/**
 * The teachers of a step and what runs of them: the original for its embedding, the one before only while the intermediates count. Where
 * both are the same weights, one runs for both.
 *
 * @param options.tapsAt the intermediates that the loss compares; [] where it looks at none
 * @param options.cache of the original's embeddings, where it has no taps to give
 * @param options.always whether the loss may look at both teachers, and at the student's taps, at any time
 */
export function teachersOf(
  models: Readonly<Record<'original' | 'previous', Model>>,
  options: {
    readonly tapsAt: (position: Position) => readonly string[];
    readonly always: boolean;
    readonly cache: TeacherCache | undefined;
    /** The original in half precision, to run in its place. */
    readonly half: Weights | undefined;
  },
): Teachers & { readonly both: (teachers: TeacherFeatures) => TeacherFeatures } {
  const { tapsAt, always, cache, half } = options;
  const { previous } = models;
  const original = half ? { ...models.original, weights: half } : models.original;
  const teachers = { original: cache ? cachedTeacher(original, cache) : original, previous };
  if (sameWeights(models.original.weights, previous.weights)) {
    return {
      teachers,
      taps: (position) => {
        const taps = tapsAt(position);
        return { student: taps, teachers: { original: taps }, ...(!always && { compared: 'original' as const }) };
      },
      both: ({ original }) => ({ original, previous: original }),
    };
  }
  return {
    teachers,
    taps: (position) => {
      const taps = tapsAt(position);
      const compared = always || taps.length > 0;
      const used = { original: always ? taps : [], ...(compared && { previous: taps }) };
      return { student: taps, teachers: used, ...(!always && compared && { compared: 'previous' as const }) };
    },
    both: (teachers) => teachers,
  };
}

/** Whether b has all that a has, with the same data. */
function sameWeights(a: Weights, b: Weights): boolean {
  return Object.entries(a).every(([name, x]) => b[name]?.dataId === x.dataId);
}
