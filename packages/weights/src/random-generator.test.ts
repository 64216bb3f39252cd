import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { expect, test } from 'vitest';
import { randomGenerator, scrambled } from './random-generator.ts';

test('equal seeds draw equal numbers: those of xoroshiro128+ from the ninth on', () => {
  const plain = xoroshiro128plus(7);
  for (let i = 0; i < 8; i++) plain.next();
  const [one, same] = [randomGenerator(7), randomGenerator(7)];
  for (let i = 0; i < 10; i++) {
    const next = plain.next();
    expect([one.next(), same.next()]).toEqual([next, next]);
  }
});

test("MurmurHash3's finaliser", () => {
  // fmix32 of smhasher's MurmurHash3.cpp, by hand in 32-bit arithmetic of BigInt
  const fmix = (seed: number) => {
    const word = (x: bigint) => BigInt.asUintN(32, x);
    let h = word(BigInt(seed));
    h = word((h ^ (h >> 16n)) * 0x85ebca6bn);
    h = word((h ^ (h >> 13n)) * 0xc2b2ae35n);
    return Number(BigInt.asIntN(32, h ^ (h >> 16n)));
  };
  for (const seed of [0, 1, 2, -1, 123456789, -(2 ** 31)]) expect(scrambled(seed)).toBe(fmix(seed));
});

test('neighbouring seeds, scrambled, draw unlike numbers', () => {
  const draws = Array.from({ length: 64 }, (_, seed) => uniformFloat64(randomGenerator(scrambled(seed))));
  expect(new Set(draws).size).toBe(64);
  const mean = draws.reduce((sum, value) => sum + value, 0) / 64;
  expect(Math.abs(mean - 0.5)).toBeLessThan(0.15); // four of its deviations
});
