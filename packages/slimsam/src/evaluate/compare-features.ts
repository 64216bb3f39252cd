import { checkFields } from '@slimsam/weights';
import type { ValidationResult } from '../compress/events.ts';
import { validate } from '../compress/validate.ts';
import { type Model, networkOf } from '../models/network.ts';
import { holdBack } from '../photographs/order.ts';
import type { Photographs } from '../photographs/photographs.ts';

/**
 * How far a model's features are from the original's on photographs: mean squared error, relative error and mean cosine.
 *
 * @param options.size of the square that plain ViTs read; the original's own unless given
 * @throws when the models are of different kinds or sizes, or no photograph can be read
 */
export async function compareFeatures(
  model: Model,
  options: {
    readonly original: Model;
    readonly photographs: Photographs;
    readonly size?: number;
    readonly signal?: AbortSignal;
  },
): Promise<Omit<ValidationResult, 'measure'>> {
  checkFields('compareFeatures', { options }, { options: 'object' });
  checkFields('compareFeatures', model, { weights: 'object', config: 'object' });
  const { original, photographs, signal } = options;
  const [network, other] = [original, model].map((each) => networkOf(each, options));
  if (network!.kind !== other!.kind || network!.size !== other!.size)
    throw new Error(
      `compareFeatures: expected two models of one kind and size, got a ${other!.kind} of ${other!.size} pixels and a ${network!.kind} of ${network!.size}`,
    );
  const context = {
    ...{ network: network!, photographs, seed: 0, batch: 1, accumulate: 1, recompute: false, signal },
    ...holdBack(photographs.names.length, { seed: 0, held: 0 }),
  };
  return validate(context, model.weights, original.weights);
}
