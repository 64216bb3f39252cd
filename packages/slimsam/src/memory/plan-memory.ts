import { checkFields } from '@slimsam/weights';
import type { Model } from '../models/network.ts';
import { type EstimateOptions, estimateMemory, type MemoryEstimate } from './estimate.ts';

/** How a run fits into memory. */
export interface MemoryPlan {
  readonly batch: number;
  /** Batches a step: as many as make the step's photographs at least as many as were asked for. */
  readonly accumulate: number;
  readonly recompute: boolean;
  readonly estimate: MemoryEstimate;
  /** What was chosen and why, in one line. */
  readonly text: string;
}

/**
 * Chooses batch, accumulation and recomputation so that a run takes no more of the adapter's memory than given: the largest batch that
 * fits without recomputation, else with it. A step sees as many photographs as asked for.
 *
 * @param options.limit bytes
 * @param options.batch photographs a step; 4 unless given
 * @throws when even a batch of 1 with recomputation takes more, saying how much
 */
export async function planMemory(
  model: Model,
  options: Omit<EstimateOptions, 'recompute' | 'accumulate'> & { readonly limit: number },
): Promise<MemoryPlan> {
  checkFields('planMemory', model, { weights: 'object', config: 'object' });
  checkFields('planMemory', options, { limit: 'number' });
  const { limit, batch: asked = 4 } = options;
  if (!(limit > 0)) throw new Error(`planMemory: expected a limit above 0 bytes, got ${limit}`);
  let least: MemoryEstimate | undefined;
  for (const recompute of [false, true]) {
    for (const batch of halvings(asked)) {
      const accumulate = Math.ceil(asked / batch);
      const estimate = await estimateMemory(model, { ...options, batch, accumulate, recompute }).catch(
        (error: unknown) => {
          // a smaller batch may be bound where the adapter does not bind so large a tensor
          if (batch === 1 || !/expected tensors of at most/.test(String(error))) throw error;
        },
      );
      if (!estimate) continue;
      if (estimate.bytes <= limit) {
        const how = `batches of ${batch}, ${accumulate} a step, ${recompute ? 'with' : 'without'} recomputation`;
        const text = `memory: ${how}: about ${sizeText(estimate.bytes)} of ${sizeText(limit)}`;
        return { batch, accumulate, recompute, estimate, text };
      }
      least = estimate;
    }
  }
  throw new Error(
    `memory: expected ${sizeText(least!.bytes)} or more for a batch of 1 with recomputation, got ${sizeText(limit)}; allow more, or take a smaller model`,
  );
}

/** n, n / 2, … 1 */
function halvings(n: number): number[] {
  return n <= 1 ? [1] : [n, ...halvings(Math.floor(n / 2))];
}

const sizeText = (bytes: number): string =>
  bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
