import { classOf, type PerDimension } from '@slimsam/prune';
import type { Dimension } from '@slimsam/weights';

/** Kept widths become multiples of these; unless given, of the largest of 8, 4, 2 and 1 that is at most a quarter of the original's. */
export interface Multiples {
  readonly embedding?: number;
  readonly head?: number;
  readonly mlp?: number;
}

/** The multiples of all dimensions, as `plan` of `@slimsam/prune` takes them. @param original the original model's dimensions */
export function roundingOf(original: ReadonlyMap<string, Dimension>, multiples: Multiples = {}): PerDimension<number> {
  const entries = [...original].map(([name, { size }]) => {
    const given = name === 'embed' ? multiples.embedding : name.endsWith('.mlp') ? multiples.mlp : multiples.head;
    return [classOf(name), given ?? [8, 4, 2].find((candidate) => candidate <= size / 4) ?? 1];
  });
  return Object.fromEntries(entries) as Record<string, number>;
}
