import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { checkFields } from './check-fields.ts';

/**
 * A source for pure-rand's distributions: xoroshiro128+ of a 32-bit seed, the same on every platform. Seeds that are near one another,
 * such as 1 and 2, want `scrambled` first.
 */
export function randomGenerator(seed: number): RandomGenerator {
  checkFields('randomGenerator', { seed }, { seed: 'number' });
  const generator = xoroshiro128plus(seed);
  for (let i = 0; i < 8; i++) generator.next(); // a 32-bit seed fills a quarter of the state: the first outputs are poor
  return generator;
}

/** Spreads neighbouring whole numbers over 32 bits (the finaliser of MurmurHash3). */
export function scrambled(seed: number): number {
  checkFields('scrambled', { seed }, { seed: 'number' });
  let h = seed | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
