import { classOf, type PerDimension } from '@slimsam/prune';
import type { Dimension } from '@slimsam/weights';

/**
 * Kept widths become multiples of these; unless given, of the largest of 8, 4, 2 and 1 that is at most a quarter of the original's width or,
 * where every dimension keeps the same share (`rotated`), of that share: 14 of a head's 64 channels at 0.77 rather than 8.
 */
export interface Multiples {
  readonly embedding?: number;
  readonly head?: number;
  readonly mlp?: number;
}

/**
 * The multiples of all dimensions, as `plan` of `@slimsam/prune` takes them.
 *
 * @param original the original model's dimensions
 * @param options.share that every dimension keeps; 1 where they keep different ones
 */
export function roundingOf(
  original: ReadonlyMap<string, Dimension>,
  { multiples = {}, share = 1 }: { readonly multiples?: Multiples | undefined; readonly share?: number },
): PerDimension<number> {
  const entries = [...original].map(([name, { size }]) => {
    const given = name === 'embed' ? multiples.embedding : name.endsWith('.mlp') ? multiples.mlp : multiples.head;
    return [classOf(name), given ?? [8, 4, 2].find((candidate) => candidate <= (size * share) / 4) ?? 1];
  });
  return Object.fromEntries(entries) as Record<string, number>;
}
