/** A step that removes channels. */
export interface PruneStep {
  readonly kind: 'prune';
  /** Names the step in events and files; unique in its recipe. */
  readonly name: string;
  /** The width of the residual stream, or the widths inside of the blocks. */
  readonly structure: 'embedding' | 'bottleneck';
  /** The share of channels to remove, in [0, 1). */
  readonly ratio: number;
}

/** A step that distils: what is still as wide as the teacher's is aligned with it. */
export interface AlignStep {
  readonly kind: 'align';
  readonly name: string;
  /** What is aligned beside the image embedding. */
  readonly structure: 'embedding' | 'bottleneck';
  readonly epochs: number;
  readonly learningRate: number;
}

/** What compresses a model: data, in the order in which it is done. */
export interface Recipe {
  readonly name: string;
  readonly steps: readonly (PruneStep | AlignStep)[];
}

/** The share of channels to remove. @throws when it is not in [0, 1) */
export function checkRatio(ratio: number, caller: string): number {
  if (ratio >= 0 && ratio < 1) return ratio;
  throw new Error(`${caller}: expected a ratio in [0, 1), got ${ratio}; 0.5 removes half of the channels`);
}
