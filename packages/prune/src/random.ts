import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** A source of uniform numbers in [0, 1): equal integer seeds draw equal ones, neighbouring seeds unlike ones. */
export function uniformFrom(seed: number): () => number {
  const generator = xoroshiro128plus(scrambled(seed));
  for (let i = 0; i < 8; i++) generator.next(); // a 32-bit seed fills a quarter of the state: the first outputs are poor
  return () => uniformFloat64(generator);
}

/** Spreads neighbouring seeds over 32 bits (the finaliser of MurmurHash3). */
function scrambled(seed: number): number {
  let h = (seed | 0) ^ Math.floor(seed / 2 ** 32);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
