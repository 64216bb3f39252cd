import { randomGenerator } from '@slimsam/weights';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { uniformInt } from 'pure-rand/distribution/uniformInt';

/** Draws, a pure function of the seeds that it was made of. */
export interface Random {
  /** Uniform in [low, high). */
  number(low: number, high: number): number;
  /** Log-uniform in [low, high). */
  ratio(low: number, high: number): number;
  /** Uniform among low, …, high. */
  integer(low: number, high: number): number;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
}

/** @param seeds whole numbers; other seeds give other draws */
export function randomOf(...seeds: number[]): Random {
  let mixed = 0x9e3779b9;
  for (const seed of seeds) mixed = Math.imul(mixed ^ seed, 0x85ebca6b) ^ ((mixed ^ seed) >>> 13);
  const generator = randomGenerator(mixed);
  const number = (low: number, high: number) => low + (high - low) * uniformFloat64(generator);
  const integer = (low: number, high: number) => uniformInt(generator, low, high);
  return {
    number,
    integer,
    ratio: (low, high) => Math.exp(number(Math.log(low), Math.log(high))),
    chance: (probability) => number(0, 1) < probability,
    pick: (list) => list[integer(0, list.length - 1)]!,
  };
}
