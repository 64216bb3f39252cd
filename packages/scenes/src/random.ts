import { randomGenerator, scrambled } from '@slimsam/weights';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';

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
  const generator = randomGenerator(scrambled(seed));
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
