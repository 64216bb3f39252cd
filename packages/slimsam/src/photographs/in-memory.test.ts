import type { RgbImage } from '@slimsam/vit';
import { resizeBilinear } from '@slimsam/vit/images';
import { describe, expect, it } from 'vitest';
import { picture } from '../../test/photograph-files.ts';
import type { Augment } from './augment.ts';
import { variationOf } from './augment.ts';
import { photographsInMemory } from './in-memory.ts';
import { holdBack, sample, shuffled } from './order.ts';
import type { Photograph, Photographs, ReadPhotographs } from './photographs.ts';
import { kMeansSubset, subsetOf } from './subset.ts';

const named = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `p${i}`, image: picture(i) }));

async function all(photographs: Photographs, indices: Iterable<number>, options: ReadPhotographs) {
  const found: Photograph[] = [];
  for await (const photograph of photographs.read(indices, options)) found.push(photograph);
  return found;
}

async function one(image: RgbImage, options: ReadPhotographs): Promise<RgbImage> {
  const [found] = await all(photographsInMemory([{ name: 'p', image }]), [0], options);
  return found!.image;
}

describe('photographs in memory', () => {
  it('are read in the order that is asked for, resized as Pillow does', async () => {
    const images = named(4);
    const found = await all(photographsInMemory(images), [2, 0, 2], { size: 20 });
    expect(found.map(({ index, name }) => [index, name])).toEqual([
      [2, 'p2'],
      [0, 'p0'],
      [2, 'p2'],
    ]);
    expect(found[1]!.image).toEqual(resizeBilinear(images[0]!.image, { width: 20, height: 15 }));
    const square = await one(images[0]!.image, { size: 24, fit: 'square' });
    expect(square).toEqual(resizeBilinear(images[0]!.image, { width: 24, height: 24 }));
  });

  it('of other pixels have another identity', () => {
    const [a, b] = [named(3), named(3)];
    expect(photographsInMemory(a).identity).toBe(photographsInMemory(b).identity);
    b[1]!.image.data[100]! ^= 1;
    expect(photographsInMemory(a).identity).not.toBe(photographsInMemory(b).identity);
  });

  it.each<[string, ReadPhotographs, number[], string]>([
    ['a size of 0', { size: 0 }, [0], 'a size of 1 to 16384 pixels, got 0'],
    ['an unknown fit', { size: 8, fit: 'cover' as 'square' }, [0], "'longest' or 'square', got 'cover'"],
    ['an index beyond', { size: 8 }, [3], 'an index of 0 to 2, got 3'],
    ['half an index', { size: 8 }, [0.5], 'got 0.5'],
    ['a probability of 2', { size: 8, augment: { flip: 2, seed: 1, epoch: 0 } }, [0], 'flips in [0, 1], got 2'],
    ['scales upside down', { size: 8, augment: { scale: [2, 1], seed: 1, epoch: 0 } }, [0], 'got [2, 1]'],
    ['no seed', { size: 8, augment: { seed: Number.NaN, epoch: 0 } }, [0], 'seed as a whole number, got NaN'],
  ])('refuse %s', async (_, options, indices, message) => {
    await expect(all(photographsInMemory(named(3)), indices, options)).rejects.toThrow(message);
  });

  it('refuse pixels that do not fit, no pixels at all, and reading when closed', async () => {
    const image = { width: 2, height: 2, data: new Uint8Array(5) };
    expect(() => photographsInMemory([{ name: 'x', image }])).toThrow('got 2 x 2 pixels and 5 bytes');
    expect(() => photographsInMemory([])).toThrow('got none');
    const photographs = photographsInMemory(named(1));
    await photographs.close();
    await expect(all(photographs, [0], { size: 8 })).rejects.toThrow('got closed ones');
  });
});

describe('variations', () => {
  const augment = (seed: number, epoch: number): Augment => ({ flip: 0.5, scale: [0.5, 2], seed, epoch });

  it('depend on seed, epoch and name alone, and cover their range', () => {
    expect(variationOf(augment(1, 2), 'a')).toEqual(variationOf(augment(1, 2), 'a'));
    const drawn = Array.from({ length: 2000 }, (_, i) => variationOf(augment(7, i % 2), `p${i}`));
    const share = drawn.filter(({ flip }) => flip).length / drawn.length;
    expect(Math.abs(share - 0.5)).toBeLessThan(0.045); // four standard deviations
    const enlarged = drawn.filter(({ scale }) => scale > 1).length / drawn.length;
    expect(Math.abs(enlarged - 0.5)).toBeLessThan(0.045);
    expect(Math.min(...drawn.map(({ scale }) => scale))).toBeGreaterThanOrEqual(0.5);
    expect(new Set(drawn.map(({ x }) => x)).size).toBe(2000);
    for (const other of [
      variationOf(augment(1, 3), 'a'),
      variationOf(augment(2, 2), 'a'),
      variationOf(augment(1, 2), 'b'),
    ])
      expect(other.x).not.toBe(variationOf(augment(1, 2), 'a').x);
  });

  it('a flip mirrors, and twice is nothing', async () => {
    const image = picture(1);
    const flipped = await one(image, { size: 40, augment: { flip: 1, seed: 0, epoch: 0 } });
    for (const [x, y] of [
      [0, 0],
      [39, 7],
      [12, 29],
    ] as const) {
      const [there, here] = [(y * 40 + 39 - x) * 3, (y * 40 + x) * 3];
      expect(flipped.data.slice(there, there + 3)).toEqual(image.data.slice(here, here + 3));
    }
    expect(await one(flipped, { size: 40, augment: { flip: 1, seed: 0, epoch: 0 } })).toEqual(image);
  });

  it('a scale of 2 shows a window of half the sides, one of 1/2 the whole on the mean colour', async () => {
    const image = { width: 64, height: 48, data: new Uint8Array(64 * 48 * 3) };
    for (let i = 0; i < image.data.length; i++) image.data[i] = (Math.floor(i / 3) % 64) * 3 + (i % 3); // by column
    const near = await one(image, { size: 64, augment: { scale: [2, 2], seed: 3, epoch: 0 } });
    expect([near.width, near.height]).toEqual([64, 48]);
    const red = (i: RgbImage, x: number) => i.data[x * 3]!;
    expect((red(near, 62) - red(near, 2)) / 3).toBeCloseTo(30, 0); // 60 columns show 30 of the photograph
    const far = await one(image, { size: 64, augment: { scale: [0.5, 0.5], seed: 3, epoch: 0 } });
    expect([far.width, far.height]).toEqual([64, 48]);
    const colours = Array.from({ length: 64 * 48 }, (_, i) => far.data.slice(3 * i, 3 * i + 3).join());
    expect(colours.filter((colour) => colour === '124,116,104')).toHaveLength(64 * 48 - 32 * 24);
  });
});

describe('orders', () => {
  it('are permutations by seed and epoch', () => {
    const order = shuffled(50, { seed: 1, epoch: 0 });
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(shuffled(50, { seed: 1, epoch: 0 })).toEqual(order);
    expect(shuffled(50, { seed: 1, epoch: 1 })).not.toEqual(order);
    expect(shuffled(50, { seed: 2, epoch: 0 })).not.toEqual(order);
  });

  it('hold back a share, never all, and sample without repetition', () => {
    const { seen, held } = holdBack(80, { seed: 5, held: 10 });
    expect([seen.length, held.length]).toEqual([70, 10]);
    expect([...seen, ...held].sort((a, b) => a - b)).toEqual(Array.from({ length: 80 }, (_, i) => i));
    expect(holdBack(3, { seed: 5, held: 0 })).toEqual({ seen: [0, 1, 2], held: [0, 1, 2] });
    expect(() => holdBack(2, { seed: 5, held: 2 })).toThrow('held to be less than the 2 photographs, got 2');
    const some = sample(seen, { size: 20, seed: 5 });
    expect(new Set(some).size).toBe(20);
    expect(some.every((index) => seen.includes(index))).toBe(true);
    expect(() => sample([1, 2], { size: 3, seed: 1 })).toThrow('expected 1 to 2 of 2, got 3');
  });
});

describe('subsets', () => {
  it('read their own numbers and have their own identity', async () => {
    const photographs = photographsInMemory(named(5));
    const subset = subsetOf(photographs, [4, 1]);
    expect(subset.names).toEqual(['p4', 'p1']);
    const found = await all(subset, [1, 0], { size: 8 });
    expect(found.map(({ index, name }) => `${index} ${name}`)).toEqual(['1 p1', '0 p4']);
    expect(subset.identity).not.toBe(subsetOf(photographs, [1, 4]).identity);
    await expect(all(subset, [2], { size: 8 })).rejects.toThrow('an index of 0 to 1, got 2');
    expect(() => subsetOf(photographs, [1, 1])).toThrow('got 1 twice');
  });

  it('by k-means take one of each cluster, whatever the clusters’ sizes', async () => {
    const photographs = photographsInMemory(named(40));
    // four clusters far apart, of 1, 4, 12 and 23 photographs
    const cluster = (i: number) => (i < 1 ? 0 : i < 5 ? 1 : i < 17 ? 2 : 3);
    const embed = async ({ index }: Photograph) => [cluster(index) * 100, Math.sin(index), Math.cos(index)];
    for (const seed of [1, 2, 3]) {
      const chosen = await kMeansSubset(photographs, { count: 4, seed, size: 8, embed });
      expect(chosen.map(cluster)).toEqual([0, 1, 2, 3]);
      expect(await kMeansSubset(photographs, { count: 4, seed, size: 8, embed })).toEqual(chosen);
    }
  });

  it('by k-means of equal photographs still have the count', async () => {
    const photographs = photographsInMemory(named(6));
    const chosen = await kMeansSubset(photographs, {
      count: 4,
      seed: 1,
      size: 8,
      embed: async ({ index }) => [index % 2],
    });
    expect(new Set(chosen).size).toBe(4);
    expect(new Set(chosen.map((index) => index % 2)).size).toBe(2);
  });

  it('by k-means refuse wrong counts and vectors', async () => {
    const photographs = photographsInMemory(named(3));
    const how = { count: 2, seed: 1, size: 8 };
    await expect(kMeansSubset(photographs, { ...how, count: 4, embed: async () => [1] })).rejects.toThrow(
      '1 to 3, got 4',
    );
    await expect(
      kMeansSubset(photographs, { ...how, embed: async ({ index }) => [Number.NaN, index] }),
    ).rejects.toThrow("expected 2 finite numbers from embed for 'p0', got other values");
    await expect(
      kMeansSubset(photographs, { ...how, embed: async ({ index }) => new Float32Array(index + 1) }),
    ).rejects.toThrow("expected 1 finite numbers from embed for 'p1', got 2");
  });
});
