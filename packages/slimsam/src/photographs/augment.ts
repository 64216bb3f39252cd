import { randomGenerator } from '@slimsam/weights';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { hashText } from './hash.ts';

/** Variations by chance: a photograph varies equally in an epoch whoever reads it, and otherwise in the next. */
export interface Augment {
  /** The probability that a photograph is mirrored left to right, [0, 1]; 0 unless given. */
  readonly flip?: number;
  /**
   * Least and largest scale, every doubling equally likely (large-scale jitter; Ghiasi et al. 2021, Simple Copy-Paste). Above 1 a window
   * of the photograph, 1 / scale of its sides, fills the size; below 1 the photograph is smaller, on the mean colour of ImageNet.
   */
  readonly scale?: readonly [number, number];
  /** Variations of each photograph: after as many epochs they begin anew, so that a teacher's embeddings can be kept; never unless given. */
  readonly views?: number;
  readonly seed: number;
  readonly epoch: number;
}

/** What was drawn for one photograph. */
export interface Variation {
  readonly flip: boolean;
  readonly scale: number;
  /** The window's, or the small photograph's, place in the room there is, [0, 1). */
  readonly x: number;
  readonly y: number;
}

/** Draws a photograph's variation, from seed, epoch and name alone. */
export function variationOf({ flip = 0, scale = [1, 1], views, seed, epoch }: Augment, name: string): Variation {
  const view = views === undefined ? epoch : epoch % views;
  const generator = randomGenerator(hashText(JSON.stringify([seed, view, name])));
  const [low, high] = scale;
  const draw = () => uniformFloat64(generator);
  return { flip: draw() < flip, scale: low * (high / low) ** draw(), x: draw(), y: draw() };
}

/** @throws when a probability, scale, seed or epoch is none */
export function checkAugment({ flip = 0, scale = [1, 1], views = 1, seed, epoch }: Augment): void {
  if (!(flip >= 0 && flip <= 1)) throw new Error(`augment: expected a probability of flips in [0, 1], got ${flip}`);
  const [low, high] = scale;
  if (!(scale.length === 2 && low > 0 && low <= high && high < Number.POSITIVE_INFINITY)) {
    throw new Error(`augment: expected scale as [least, largest] above 0, got [${scale.join(', ')}]`);
  }
  if (!(Number.isSafeInteger(views) && views >= 1)) throw new Error(`augment: expected 1, 2, … views, got ${views}`);
  for (const [name, value] of Object.entries({ seed, epoch })) {
    if (!Number.isSafeInteger(value)) throw new Error(`augment: expected ${name} as a whole number, got ${value}`);
  }
}
