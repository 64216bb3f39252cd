import { macsTarget, type Target as PlanTarget, parametersTarget, plan } from '@slimsam/prune';
import { checkFields, dims, disposeWeights } from '@slimsam/weights';
import { type Model, networkOf } from './network.ts';
import { type Multiples, roundingOf } from './rounding.ts';

/** A size to come to: parameters of the whole model, or MACs of its image encoder (linear and convolution layers, the paper's count). */
export type Target = { readonly parameters: number } | { readonly macs: number };

/** What a ratio gives. */
export interface Solved {
  readonly ratio: number;
  readonly parameters: number;
  readonly macs: number;
}

/**
 * The ratio at which the widths of both halves of the structure, cut alike in every block, come to a target or just below.
 *
 * @param options.size of the images of a plain ViT
 * @throws when no ratio comes to it, saying the least there is
 */
export async function ratioFor(
  model: Model,
  target: Target,
  options: { readonly multiples?: Multiples; readonly size?: number } = {},
): Promise<Solved> {
  checkFields('ratioFor', { target, options }, { target: 'object', options: 'object?' });
  checkFields('ratioFor', model, { weights: 'object', config: 'object' });
  const network = networkOf(model, options);
  const weights = network.prepare(model.weights, { narrows: true });
  try {
    const axes = network.axes(weights);
    const table = dims(axes, weights);
    const alike = [...table].map(([name, { size }]) => [name, new Float32Array(size).fill(1)] as const);
    const { given, after } = await plan({
      ...{ weights, axes, importance: Object.fromEntries(alike), ranking: 'local', normalise: 'mean' },
      ...{ target: planTarget(target), costs: network.costs(weights), roundTo: roundingOf(table, options.multiples) },
    });
    return { ratio: given, parameters: after.parameters, macs: after.macs! };
  } finally {
    disposeWeights(weights);
  }
}

/** A target as `plan` of `@slimsam/prune` takes it. */
export function planTarget(target: Target): PlanTarget {
  return 'macs' in target ? macsTarget(target.macs) : parametersTarget(target.parameters);
}
