import { checkFields } from '@slimsam/weights';

/** Rises from 0 over `warmup` steps, then falls along a cosine to 0 at `steps`. @throws when a number is negative or not finite */
export function warmupCosine(options: {
  readonly peak: number;
  readonly warmup: number;
  readonly steps: number;
}): (position: { readonly step: number }) => number {
  checkFields('warmupCosine', options, { peak: 'number', warmup: 'number', steps: 'number' });
  const { peak, warmup, steps } = options;
  checkNumbers('warmupCosine', { peak, warmup, steps });
  return ({ step }) => {
    if (step < warmup) return (peak * (step + 1)) / warmup;
    return 0.5 * peak * (1 + Math.cos(Math.PI * Math.min(1, (step - warmup) / Math.max(1, steps - warmup))));
  };
}

/** What a plateau must remember: JSON. */
export interface PlateauState {
  readonly learningRate: number;
  /** The best metric; null before the first. */
  readonly best: number | null;
  readonly bad: number;
}

/** A learning rate that falls when a metric stops rising. */
export interface Plateau {
  readonly learningRate: number;
  /** Tells it the metric of one more epoch; true when it is the best so far. @throws when it is not finite */
  feed(metric: number): boolean;
  state(): PlateauState;
}

/**
 * Halves the learning rate when the metric has not risen for more than `patience` epochs in a row
 * (torch.optim.lr_scheduler.ReduceLROnPlateau in mode max with threshold 0; SlimSAM: patience 3 in stage 1, 4 in stage 2).
 *
 * @throws when a number is negative or not finite
 */
export function plateau(options: {
  readonly learningRate: number;
  readonly patience: number;
  readonly factor?: number;
  readonly from?: PlateauState | undefined;
}): Plateau {
  checkFields('plateau', options, { learningRate: 'number', patience: 'number' });
  const { patience, factor = 0.5, from } = options;
  let { learningRate, best, bad } = from ?? {
    learningRate: options.learningRate,
    best: null,
    bad: 0,
  };
  checkNumbers('plateau', { learningRate, patience, factor, bad });
  return {
    get learningRate() {
      return learningRate;
    },
    feed(metric) {
      if (!Number.isFinite(metric)) throw new Error(`plateau: expected a finite metric, got ${metric}`);
      if (best === null || metric > best) {
        best = metric;
        bad = 0;
        return true;
      }
      if (++bad > patience) {
        learningRate *= factor;
        bad = 0;
      }
      return false;
    },
    state: () => ({ learningRate, best, bad }),
  };
}

function checkNumbers(caller: string, numbers: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(numbers))
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY))
      throw new Error(`${caller}: expected ${name} to be 0 or more, got ${value}`);
}
