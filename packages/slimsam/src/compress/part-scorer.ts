import type { Scores } from '@slimsam/prune';
import type { Model } from '../models/network.ts';

/** One part of the photographs that score. */
export interface PhotographPart {
  /** Indices of photographs. */
  readonly indices: readonly number[];
  /** The place of the first one in the list of all that score, by which noise is seeded. */
  readonly first: number;
}

/** Scores [channels] by dimension, and of how many photographs. */
export interface PartScores {
  readonly scores: Scores;
  readonly count: number;
}

/** What others score for a run: the parts' scores, in their order. */
export type PartScorer = (request: {
  /** The model at this step. */
  readonly model: Model;
  readonly parts: readonly PhotographPart[];
  readonly scoring: ScoringOfPart;
  readonly dimensions: readonly string[];
}) => AsyncIterable<PartScores>;

/** How the parts are scored: plain data. */
export interface ScoringOfPart {
  readonly accumulate: 'squared' | 'absolute';
  readonly sigma?: number | undefined;
  /** Index of the recipe's step. */
  readonly index: number;
  readonly recompute: boolean;
}
