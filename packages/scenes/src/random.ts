import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** Draws numbers; equal seeds draw equal ones. */
export interface Draw {
  /** A number in [low, high). */
  number(low: number, high: number): number;
  /** A number in [low, high), every doubling equally likely. */
  scale(low: number, high: number): number;
  /** A whole number in [low, high]. */
  whole(low: number, high: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  /** One of the list. */
  of<T>(list: readonly T[]): T;
}

/** A seeded source of draws. */
export function drawFrom(seed: number): Draw {
  const generator = xoroshiro128plus(scrambled(seed));
  for (let i = 0; i < 8; i++) generator.next(); // a 32-bit seed fills a quarter of the state: the first outputs are poor
  const number = (low: number, high: number) => low + (high - low) * uniformFloat64(generator);
  const whole = (low: number, high: number) => Math.floor(number(low, high + 1));
  return {
    number,
    whole,
    scale: (low, high) => low * (high / low) ** number(0, 1),
    chance: (probability) => number(0, 1) < probability,
    of: (list) => list[whole(0, list.length - 1)]!,
  };
}

/** Neighbouring seeds give the generator similar states: spread them (the finaliser of MurmurHash3). */
function scrambled(seed: number): number {
  let h = seed | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
