import { randomGenerator, scrambled } from '@slimsam/weights';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';

/** A source of uniform numbers in [0, 1): equal integer seeds draw equal ones, neighbouring seeds unlike ones. */
export function uniformFrom(seed: number): () => number {
  const generator = randomGenerator(scrambled((seed | 0) ^ Math.floor(seed / 2 ** 32)));
  return () => uniformFloat64(generator);
}
