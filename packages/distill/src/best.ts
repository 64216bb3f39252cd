import { checkFields, disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** The weights that had the best metric, and that metric. */
export interface Best {
  readonly metric: number;
  readonly weights: Weights;
}

/** Keeps copies of the best weights so far. */
export interface BestKeeper {
  /** Undefined before the first offer. The tensors live until a better offer, or `dispose`. */
  readonly best: Best | undefined;
  /** Copies the weights when the metric is the highest so far; says whether it was. */
  offer(metric: number, weights: Weights): boolean;
  dispose(): void;
}

/**
 * Keeps the weights of the best validation, such as the highest mIoU.
 *
 * @param from where an earlier run was; it is copied
 */
export function keepBest(from?: Best): BestKeeper {
  if (from !== undefined) checkFields('keepBest', from, { metric: 'number', weights: 'object' });
  const copy = ({ metric, weights }: Best): Best => ({
    metric,
    weights: Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, tf.clone(weight)])),
  });
  let best = from && copy(from);
  const dispose = () => {
    if (best) disposeWeights(best.weights);
    best = undefined;
  };
  return {
    get best() {
      return best;
    },
    offer(metric, weights) {
      if (!(metric > (best?.metric ?? Number.NEGATIVE_INFINITY))) return false;
      dispose();
      best = copy({ metric, weights });
      return true;
    },
    dispose,
  };
}
