import type { Costs } from '@slimsam/weights';
import { product, type Shapes } from './axis.ts';

/** Number of parameters, of all weights or of those whose name starts with the prefix ('image_encoder.'). */
export function countParameters(weights: Shapes, options: { prefix?: string } = {}): number {
  return Object.entries(weights)
    .filter(([name]) => name.startsWith(options.prefix ?? ''))
    .reduce((total, [, { shape }]) => total + product(shape), 0);
}

/**
 * Multiply-accumulates for one image, from shapes alone. `macs`: linear and convolution layers, elements times positions (the
 * paper's convention). `macsWithAttention`: plus q kᵀ and the product with v, 2 * windows * tokens² * heads * headWidth a block.
 * @throws when a weight that the costs name is missing.
 */
export function countMacs(weights: Shapes, costs: Costs): { macs: number; macsWithAttention: number } {
  const shapeOf = (name: string): readonly number[] => {
    const weight = weights[name];
    if (weight === undefined) throw new Error(`countMacs: expected weight '${name}', got none`);
    return weight.shape;
  };
  let macs = 0;
  for (const [name, positions] of Object.entries(costs.applications)) macs += product(shapeOf(name)) * positions;
  let products = 0;
  for (const { qkv, windows, tokens } of costs.attention) {
    products += 2 * windows * tokens * tokens * (shapeOf(qkv)[0]! / 3); // axis 0 is 3 * heads * headWidth
  }
  return { macs, macsWithAttention: macs + products };
}
