import { type Costs, checkFields } from '@slimsam/weights';
import { product, type Shapes } from './axis.ts';

/** Number of parameters, of all weights or of those whose name starts with the prefix ('image_encoder.'). */
export function countParameters(weights: Shapes, options: { prefix?: string } = {}): number {
  checkFields('countParameters', { weights }, { weights: 'object' });
  return Object.entries(weights)
    .filter(([name]) => name.startsWith(options.prefix ?? ''))
    .reduce((total, [, { shape }]) => total + product(shape), 0);
}

/** Multiply-accumulates for one image, by convention. */
export interface Macs {
  /** Of linear and convolution layers: elements times positions. */
  readonly macs: number;
  /** Plus q kᵀ and the product with v: windows * tokens² * heads * (width of q + width of v) a block. */
  readonly macsWithAttention: number;
  /** The paper's count: `macs`, one for each element after an activation, and the biases as its counter takes them. */
  readonly paperMacs: number;
}

/**
 * Multiply-accumulates for one image, from shapes alone.
 * @throws when a weight that the costs name is missing.
 */
export function countMacs(weights: Shapes, costs: Costs): Macs {
  checkFields('countMacs', { weights }, { weights: 'object' });
  checkFields('countMacs', costs, {
    applications: 'object',
    activations: 'object',
    biases: 'object',
    attention: 'list',
  });
  const shapeOf = (name: string): readonly number[] => {
    if (!Object.hasOwn(weights, name)) throw new Error(`countMacs: expected weight '${name}', got none`);
    return weights[name]!.shape;
  };
  const timesRows = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts).reduce((sum, [name, times]) => sum + shapeOf(name)[0]! * times, 0);
  let macs = 0;
  for (const [name, positions] of Object.entries(costs.applications)) macs += product(shapeOf(name)) * positions;
  let products = 0;
  for (const { qkv, proj, windows, tokens } of costs.attention) {
    const value = shapeOf(proj)[1]!; // heads * width of v
    const query = (shapeOf(qkv)[0]! - value) / 2; // axis 0 holds q, k and v
    products += windows * tokens * tokens * (query + value);
  }
  return {
    macs,
    macsWithAttention: macs + products,
    paperMacs: macs + timesRows(costs.activations) + timesRows(costs.biases),
  };
}
