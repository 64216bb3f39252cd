import { countMacs, countParameters } from '@slimsam/prune';
import { dims, type Weights } from '@slimsam/weights';
import { type Model, networkOf } from './network.ts';

/** A size to come to: parameters of the whole model, or MACs of its image encoder (linear and convolution layers, the paper's count). */
export type Target = { readonly parameters: number } | { readonly macs: number };

/** What a ratio gives. */
export interface Solved {
  readonly ratio: number;
  readonly parameters: number;
  readonly macs: number;
}

/**
 * The least ratio, in steps of 0.001, at which both halves of the structure, pruned alike in every block, come to a target or below.
 *
 * @param options.multiple what kept widths are multiples of; 8 unless given
 * @param options.size of the images of a plain ViT
 * @throws when no ratio comes to it, saying the nearest
 */
export function ratioFor(
  model: Model,
  target: Target,
  options: { readonly multiple?: number; readonly size?: number } = {},
): Solved {
  const network = networkOf(model, options);
  const weights = network.prepare(model.weights, { narrows: true });
  try {
    const at = (ratio: number): Solved => {
      const shapes = shapesAt(weights, { axes: network.axes(weights), ratio, multiple: options.multiple ?? 8 });
      const { macs } = countMacs(shapes, network.costs(shapes as Weights));
      return { ratio, parameters: countParameters(shapes), macs };
    };
    const [name, goal] =
      'macs' in target ? (['macs', target.macs] as const) : (['parameters', target.parameters] as const);
    let [low, high] = [0, 999];
    const least = at(high / 1000);
    if (least[name] > goal)
      throw new Error(
        `ratioFor: expected ${name} that a ratio reaches, got ${goal.toLocaleString('en')}; the nearest are ${Math.round(least[name]).toLocaleString('en')}`,
      );
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (at(middle / 1000)[name] <= goal) high = middle;
      else low = middle + 1;
    }
    return at(low / 1000);
  } finally {
    for (const weight of Object.values(weights)) weight.dispose();
  }
}

/** The shapes after pruning every dimension by a ratio. */
function shapesAt(
  weights: Weights,
  { axes, ratio, multiple }: { axes: Parameters<typeof dims>[0]; ratio: number; multiple: number },
): Record<string, { shape: number[] }> {
  const shapes = Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, { shape: [...shape] }]));
  for (const { size, members } of dims(axes, weights).values()) {
    const step = Math.min(multiple, 2 ** Math.floor(Math.log2(Math.max(1, size / 4))));
    const kept = Math.max(step, Math.floor((size * (1 - ratio) + 1e-9) / step) * step);
    for (const { weight, axis } of members) shapes[weight]!.shape[axis]! *= Math.min(size, kept) / size;
  }
  return shapes;
}
